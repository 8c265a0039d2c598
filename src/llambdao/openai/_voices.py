"""What the offline voice can say: sentences written by hand, for three philosophers and for others.

In each, `{name}` is whom it answers and `{it}` a phrase of his; `{persona}` is who a voice without
sentences of its own is to be.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ANYBODY", "VOICES", "Voice"]


@dataclass(frozen=True, slots=True)
class Voice:
    """A manner of speaking: how it answers a question, agrees, objects, and asks back."""

    known_by: frozenset[str]
    answer: tuple[str, ...]
    agree: tuple[str, ...]
    object: tuple[str, ...]
    ask: tuple[str, ...]


RUMI = Voice(
    known_by=frozenset({"rumi", "sufi", "mystic", "dervish", "jalaluddin", "mevlana"}),
    answer=(
        (
            "You ask about {it}, {name}, as if it stood outside your door. It has been knocking"
            " from the inside all night."
        ),
        (
            "{name}, I went looking for {it} in the tavern and in the mosque. I found it where I"
            " had left it: in the one who was looking."
        ),
        (
            "A reed cut from its bed could answer you better, {name}. Whatever it sings of {it},"
            " it only means: take me home."
        ),
        "Put down the lamp, {name}, and let {it} find you. No moth ever asked the way.",
        (
            "Whoever speaks well of {it} has burned for it first. Ask me again, {name}, when we"
            " are both ash."
        ),
        (
            "I could give you words about {it}, {name}, but words are the dust behind the"
            " caravan. The caravan has gone by, and it was singing."
        ),
        (
            "What you call {it}, {name}, is a window. You have described the glass to me; now"
            " look at the garden."
        ),
        "Ask your thirst about {it}, {name}. It knows more than any well.",
        (
            "Once I had nine answers about {it}. Then the Friend laughed, {name}, and I forgot"
            " them all, and was answered."
        ),
    ),
    agree=(
        (
            "Yes, {name}! When you say {it}, my heart gets up and turns like one who has heard"
            " the drum."
        ),
        (
            "You have poured {it} into my cup, {name}, and I will not ask which vineyard it came"
            " from. I drink."
        ),
        (
            "So it is, {name}. Two candles lean together over {it}, and who can say whose light"
            " is on the wall?"
        ),
        "I have nothing to set against {it}, {name}. The sea does not argue with the rain.",
        "{name}, you speak of {it} like one who has been robbed by love and came home rich.",
        "Say more of {it}, {name}, and say it softly. A rose opens better at a whisper.",
        "There is salt in what you say of {it}, {name}, and bread without salt is only work.",
        (
            "My own teacher said less about {it} than you, {name}, and he said it by weeping. I"
            " hear him in you."
        ),
    ),
    object=(
        (
            "Gently, {name}. You weigh {it} like a merchant, and love has never owned a pair of"
            " scales."
        ),
        (
            "No, {name}: a map of {it} will not wet your lips. Throw it in the river and follow"
            " it down."
        ),
        (
            "You have built a fine house around {it}, {name}. Forgive me if I break a wall; the"
            " moon wished to come in."
        ),
        "You hold {it} as one holds a bird, {name}, and you wonder that it does not sing.",
        (
            "What is cool in your talk of {it}, {name}, troubles me. Bread is not baked by"
            " explaining the oven."
        ),
        "If {it} were enough, {name}, why would the flute have holes?",
        "You guard {it} with your mind, {name}, and the thief you fear is the guest you invited.",
        "I too was once sober about {it}, {name}. I do not recommend it.",
    ),
    ask=(
        "And you, {name}: who first taught you {it}, and why did you let that teacher go?",
        (
            "Tell me, {name}, when you say {it}, is it your own voice or a caravan passing"
            " through you?"
        ),
        "What would be left of {it}, {name}, if nobody were watching but the one who made you?",
        "{name}, which wound of yours was it that let {it} in?",
        "If {it} came tonight as a beggar, {name}, would you know it by its eyes?",
        "Where does {it} go when you sleep, {name}, and why do you call it lost?",
        "Shall we stop talking of {it}, {name}, and dance until it talks of us?",
    ),
)

LAO_TZU = Voice(
    known_by=frozenset({"lao", "laozi", "tzu", "taoist", "daoist", "tao", "dao"}),
    answer=(
        "You ask about {it}, {name}. The valley does not ask, and all the streams come to it.",
        "What can be said of {it} is only its shadow, {name}. Sit down; the sun will move.",
        (
            "Water would know {it}, {name}. It goes to the low places that everybody despises,"
            " and it arrives."
        ),
        (
            "Thirty spokes meet in a wheel, {name}, and the cart rolls on the hole between them."
            " Look for {it} there."
        ),
        "I am dull, {name}; others see {it} so sharply. I only notice that the grass has grown.",
        (
            "Whoever pursues {it} gains something every day, {name}. Whoever finds it has lost"
            " something every day."
        ),
        "Do not push at {it}, {name}. Muddy water, left alone, becomes clear.",
        "To speak of {it} is to carve the block, {name}. I would rather leave you the wood.",
        "A good traveller has no fixed plan for {it}, {name}, and is not bent on arriving.",
    ),
    agree=(
        (
            "That is simple, {name}, and so it may be true. With {it} it is like the hinge: it"
            " is moved, and stays where it is."
        ),
        "You say {it}, {name}, and you say no more than that. Few can stop in time.",
        "Yes, {name}. A soft tongue outlives hard teeth; so let it be with {it}.",
        "I nod, {name}. In what you say of {it} there is an empty room, and one can live in it.",
        "You have come to {it} by going home, {name}. It is the long way, and there is no other.",
        "Keep {it}, {name}, as one cooks a small fish: without too much turning.",
        (
            "When the work is done, the wise withdraw. You spoke of {it} and claimed nothing,"
            " {name}; that is well."
        ),
        "The tree that bends will know what you mean by {it}, {name}. I bend with it.",
    ),
    object=(
        "{name}, he who stands on tiptoe does not stand firm. You reach too high for {it}.",
        "The more one praises {it}, {name}, the more thieves there will be who want it.",
        "You have sharpened {it} so well, {name}, that it will not keep its edge.",
        "Strong winds do not last the morning, {name}. There is much wind in your talk of {it}.",
        "You fill {it} to the brim, {name}. It would have been easier to carry half full.",
        "When everybody knows what is good about {it}, {name}, then something ugly has begun.",
        (
            "Must {it} be conquered, {name}? I have seen an empire that could not be improved,"
            " and they improved it."
        ),
        "Less, {name}. What you say of {it} is a foot on the snake's drawing: it never needed one.",
    ),
    ask=(
        "Can you hold {it} with open hands, {name}?",
        "Before there was a name for {it}, {name}, what was missing?",
        "{name}, if nobody did anything about {it}, what would remain undone?",
        "How does a child know {it}, {name}, who has not heard us talk?",
        "You carry {it} a long way, {name}. When did you last set it down?",
        "Which is heavier, {name}: {it}, or the wish to be right about it?",
        "Is it {it} that moves, {name}, or the one who watches?",
    ),
)

MARCUS = Voice(
    known_by=frozenset({"marcus", "aurelius", "stoic", "emperor"}),
    answer=(
        (
            "First ask, {name}, what in {it} depends on you. Do that part today, and do it well;"
            " leave the rest to the whole."
        ),
        (
            "At dawn I tell myself that I rise to do a human being's work. I know no better"
            " answer about {it}, {name}."
        ),
        (
            "Strip {it} of its fine clothes, {name}, and see what it is made of, how long it"
            " lasts and what it is for."
        ),
        (
            "In a hundred years, {name}, neither we nor those who quarrel over {it} will be"
            " here. So be just now, while it can be seen."
        ),
        (
            "I have had {it} praised to me in three palaces, {name}. It looked best in a tent by"
            " the Danube, where it was useful."
        ),
        (
            "What is good for the hive, {name}, is good for the bee. Judge {it} by that, and you"
            " will seldom err."
        ),
        (
            "Of {it} I know only my share, {name}: to act without anger, to speak without lying,"
            " to accept what comes."
        ),
        (
            "Do not look for {it} in places where others can take it away, {name}. Your own mind"
            " is a small estate, but it is well walled."
        ),
        (
            "The obstacle belongs to the road, {name}. Whatever stands between you and {it} is"
            " your next piece of work."
        ),
    ),
    agree=(
        (
            "I have nothing to correct, {name}. What you say of {it} can be acted on, which is"
            " the test."
        ),
        (
            "Well said, {name}. I shall write it down tonight, that part about {it}, and need it"
            " by morning."
        ),
        (
            "That is just, {name}. We were made to work together, like two rows of teeth, and on"
            " {it} we do."
        ),
        (
            "You see {it} without ornament, {name}. My teachers would have let you stay after"
            " the lesson."
        ),
        "I agree, {name}, and with some shame: I have ruled many provinces and {it} hardly at all.",
        "So a soldier at his post would speak of {it}, {name}. I can think of no higher praise.",
        "Yes, {name}. Whoever keeps {it} in view will find little that can offend him.",
        (
            "Your point about {it} holds, {name}, even if nobody applauds; it did not need the"
            " applause."
        ),
    ),
    object=(
        (
            "Careful, {name}. It is not {it} that disturbs us, but our opinion of it, and that"
            " we can withdraw."
        ),
        (
            "I doubt it, {name}. Would you still say this of {it} at the end of a bad day, with"
            " the petitioners waiting?"
        ),
        (
            "That is beautiful, {name}, but a purple robe is also only wool dyed with shellfish."
            " What is {it}, plainly?"
        ),
        "You leave out the neighbour, {name}. Whatever {it} may be, it is owed to somebody.",
        (
            "I cannot follow you there, {name}. If {it} lies beyond our choice, let us not make"
            " our peace depend on it."
        ),
        "Too many words for {it}, {name}; I say so as one who has filled twelve books.",
        (
            "You speak of {it} as if there were time, {name}. A man should speak as one who may"
            " be called away."
        ),
        "Let us test that, {name}: take from {it} all that fame adds, and show me what is left.",
    ),
    ask=(
        "What will you do about {it} before noon, {name}?",
        "And if {it} were taken from you tonight, {name}, which of your virtues would go with it?",
        "Whom does {it} make you kinder to, {name}?",
        "Is there anything in {it}, {name}, that nature did not give you the strength to bear?",
        "Would you want {it}, {name}, if nobody could ever learn that you had it?",
        "By what sign, {name}, shall we know {it} from mere comfort?",
        "How would you explain {it}, {name}, to a child, or to an emperor, who is often slower?",
    ),
)

ANYBODY = Voice(
    known_by=frozenset(),
    answer=(
        (
            "About {it}, {name}: I would begin with one case that we both know, and see what it"
            " teaches us."
        ),
        (
            "Speaking as {persona}, I would say of {it} that most of it depends on whom you ask,"
            " {name}, and on what they stand to lose."
        ),
        (
            "A short answer on {it}, {name}: it matters more than it seems, and it is less"
            " urgent than it sounds."
        ),
        "I see two sides of {it}, {name}. One we can settle today, the other we can only watch.",
        "You want to know about {it}, {name}. What I have seen of it so far speaks for patience.",
        "Let me put {it} the other way round, {name}: what would we miss if it were gone?",
        (
            "As {persona} I have a plain view of {it}, {name}: keep what works, and say openly"
            " what does not."
        ),
    ),
    agree=(
        "I agree with you about {it}, {name}, and I would go one step further.",
        "Yes, {name}, {it} is where I would have begun as well.",
        (
            "That fits what I know, {name}. With {it} you have named the point on which the rest"
            " hangs."
        ),
        "You have convinced me about {it}, {name}; I had it the wrong way round.",
        "Good, {name}. Speaking as {persona}, I can work with what you say about {it}.",
        "Agreed, {name}: first {it}, and only then the rest.",
        "I was about to say the same of {it}, {name}, though in more words.",
    ),
    object=(
        "I am not sure, {name}. What you say about {it} may hold for some of us, but not for all.",
        "There I differ, {name}. I would not rest the whole matter on {it}.",
        "One objection, {name}: {it} has a price, and you have not said who pays.",
        "Speaking as {persona}, I must object: {it} looks different from where I stand, {name}.",
        "That is too quick for me, {name}. Let us look at {it} once more before we build on it.",
        "With respect, {name}, I have seen {it} go wrong, and always for the same reason: haste.",
        (
            "You may be right about {it}, {name}, but I would want to see it tried on something"
            " small first."
        ),
    ),
    ask=(
        "How did you come to {it}, {name}?",
        "What would change your mind about {it}, {name}?",
        "Can you give me an example of {it}, {name}, from this week?",
        "Who else should we hear on {it}, {name}?",
        "If we had to decide about {it} now, {name}, what would you choose?",
        "What is the smallest thing about {it}, {name}, that we could settle here?",
        "And what follows from {it}, {name}, for the rest of us?",
    ),
)

VOICES = (RUMI, LAO_TZU, MARCUS)
