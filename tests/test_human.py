"""People: asked once, answering once, from any door; the same with a journal and without."""

import asyncio
import io
import sys

import pytest
from pydantic import ValidationError

from clock import FakeClock
from llambdao import (
    Deadlock,
    HumanNode,
    MapperNode,
    Message,
    Misused,
    NoAnswer,
    Node,
    all_of,
    ask,
)
from llambdao.console import ConsoleHumanNode, Screen
from llambdao.journal import Journal
from llambdao.journal.memory import MemoryLedger
from llambdao.kernel.errors import BadMessage
from llambdao.runtime import Runtime
from llambdao.runtime.questions import AlreadyAnswered, NotAsked
from loops import on_a_loop

pytestmark = pytest.mark.timeout(30)


class Held(FakeClock):
    """A clock that nobody but the test moves."""

    def sleep(self, seconds):
        """It is no later than before."""

    def later(self, seconds):
        """It is so much later."""
        super().sleep(seconds)


@pytest.fixture(params=["plain", "memory", "sqlite"])
def home(request, tmp_path):
    """Makes a runtime: without a journal, with one in memory, with one in a file."""
    journals = {
        "plain": lambda: None,
        "memory": lambda: Journal(MemoryLedger()),
        "sqlite": lambda: f"sqlite:///{tmp_path}/room.db?synchronous=normal",
    }

    def make(*nodes, clock=None):
        journal = journals[request.param]()
        return Runtime(*nodes, journal=journal, clock=clock or Held(), watchdog=None)

    return make


class Clerk(Node):
    """Asks its boss, and says what he said and who that was."""

    boss: Node
    patience: float | None = None

    def request(self, message):
        try:
            said = yield self.boss.ask(message.content, intent="request", timeout=self.patience)
        except NoAnswer as error:
            return f"no answer: {error}"
        return f"{said.sender}: {said.content}"


class Vote(Message, kind="test_human.Vote"):
    """A typed answer."""

    aye: bool


class Seats(Message, kind="test_human.Seats"):
    """A typed answer with two fields."""

    seats: int
    row: str = "A"


async def asked(runtime, clerk, words="May I?"):
    """Have the clerk ask: the task that waits for his reply, and the open questions."""
    task = asyncio.ensure_future(runtime.ask(clerk, Message(words, intent="request")))
    await runtime.settle()
    return task, await runtime.pending()


# -- asked, and answered once --------------------------------------------------------------------


@on_a_loop
async def test_a_question_is_open_until_it_is_answered(home):
    """Its asker, its words and since when are known; the answer goes on in the handler."""
    ann = HumanNode(name="Ann")
    clerk = Clerk(name="clerk", boss=ann)
    async with home(clerk) as runtime:
        task, [question] = await asked(runtime, clerk)
        assert (str(question.who), str(question.asker), question.content) == (
            "Ann",
            "clerk",
            "May I?",
        )
        assert question.until is None
        assert question.since.timestamp() == pytest.approx(runtime.clock.ns / 1e9)
        assert str(question) == "Ann: May I?"
        await runtime.answer(question.id, "yes", by=ann)
        assert (await task).content == "Ann: yes"
        assert await runtime.pending() == []


@on_a_loop
async def test_the_questions_are_those_of_all_the_oldest_first(home):
    """Several people, several questions at once."""

    class Table(Node):
        people: list[Node]

        def request(self, message):
            said = yield all_of(*(one.ask(message.content) for one in self.people))
            return " ".join(one.content for one in said)

    table = Table(name="table", people=[HumanNode(name="Ann"), HumanNode(name="Bob")])
    async with home(table) as runtime:
        task, questions = await asked(runtime, table, "Lunch?")
        assert [str(one) for one in questions] == ["Ann: Lunch?", "Bob: Lunch?"]
        await runtime.answer(questions[1].id, "no", by="Bob")
        await runtime.settle()
        assert [str(one) for one in await runtime.pending()] == ["Ann: Lunch?"]
        await runtime.answer(questions[0].id, "yes", by="Ann")
        assert (await task).content == "yes no"


@on_a_loop
async def test_only_who_was_asked_answers(home):
    """Anybody else is refused, and the question stays open; nobody is told what else there is."""
    clerk = Clerk(name="clerk", boss=HumanNode(name="Ann"))
    bob = HumanNode(name="Bob")
    async with home(clerk, bob) as runtime:
        task, [question] = await asked(runtime, clerk)
        for other in (bob, bob.address, "Bob", "clerk", "", "ann"):
            with pytest.raises(NotAsked, match="Ann was asked 'May I\\?', not"):
                await runtime.answer(question.id, "yes", by=other)
        with pytest.raises(Misused, match="by= says who answers"):
            await runtime.answer(question.id, "yes", by=None)
        with pytest.raises(NotAsked, match="there is no question 'x'"):
            await runtime.answer("x", "yes", by="Ann")
        await runtime.answer(question.id, "at last", by="Ann")
        assert (await task).content == "Ann: at last"


@on_a_loop
async def test_by_is_the_node_its_address_its_path_or_its_name(home):
    """All say who answers."""
    ann = HumanNode(name="Ann")
    clerk = Clerk(name="clerk", boss=ann)
    async with home(clerk) as runtime:
        for by in (ann, ann.address, "clerk/Ann", "Ann"):
            task, [question] = await asked(runtime, clerk)
            await runtime.answer(question.id, "yes", by=by)
            assert (await task).content == "Ann: yes"


@on_a_loop
async def test_it_is_answered_once(home):
    """The second answer is refused, says who was first, and changes nothing."""
    clerk = Clerk(name="clerk", boss=HumanNode(name="Ann"))
    async with home(clerk) as runtime:
        task, [question] = await asked(runtime, clerk)
        await runtime.answer(question.id, "yes", by="Ann")
        with pytest.raises(AlreadyAnswered, match="was answered by clerk/Ann; it takes no more"):
            await runtime.answer(question.id, "no", by="Ann")
        assert (await task).content == "Ann: yes"
        with pytest.raises(AlreadyAnswered, match="was answered by clerk/Ann; it takes no more"):
            await runtime.answer(question.id, "no", by="Ann")


@on_a_loop
async def test_of_two_answers_at_once_one_counts(home):
    """The other one is refused."""
    clerk = Clerk(name="clerk", boss=HumanNode(name="Ann"))
    async with home(clerk) as runtime:
        task, [question] = await asked(runtime, clerk)
        outcomes = await asyncio.gather(
            *(runtime.answer(question.id, word, by="Ann") for word in ("one", "two", "three")),
            return_exceptions=True,
        )
        assert outcomes[0] is None
        assert [type(one) for one in outcomes[1:]] == [AlreadyAnswered, AlreadyAnswered]
        assert (await task).content == "Ann: one"


@on_a_loop
async def test_what_a_person_is_informed_of_she_need_not_answer(home):
    """It is no question."""
    ann = HumanNode(name="Ann")
    async with home(ann) as runtime:
        await runtime.tell(ann, Message("It rains.", intent="inform"))
        await runtime.settle()
        assert await runtime.pending() == []


@on_a_loop
async def test_a_message_passed_on_to_several_people_is_a_question_to_each(home):
    """Each answers for herself, in any order; nobody's answer counts for another."""
    table = MapperNode(HumanNode(name="Ann"), HumanNode(name="Bob"), name="table")
    async with home(table) as runtime:
        await runtime.tell(table, Message("Lunch?", intent="request", id="m1"))
        await runtime.settle()
        questions = {str(one.who): one for one in await runtime.pending()}
        assert [*questions] == ["Ann", "Bob"]
        assert questions["Ann"].id != questions["Bob"].id
        with pytest.raises(NotAsked):
            await runtime.answer(questions["Bob"].id, "no", by="Ann")
        await runtime.answer(questions["Bob"].id, "no", by="Bob")
        await runtime.settle()
        assert [str(one) for one in await runtime.pending()] == ["Ann: Lunch?"]
        await runtime.answer(questions["Ann"].id, "yes", by="Ann")
        await runtime.settle()
        assert await runtime.pending() == []


class InTurn(MapperNode):
    """Passes on what it is asked to one after the other."""

    def request(self, message):
        yield self.relay(message, ordered=True)


@on_a_loop
async def test_people_who_are_asked_in_turn_have_questions_of_their_own(home):
    """What the first has answered is closed, and is not the question to the second."""
    table = InTurn(HumanNode(name="Ann"), HumanNode(name="Bob"), name="table")
    people = InTurn(HumanNode(name="Ann"), HumanNode(name="Bob"), table, name="people")
    async with home(people) as runtime:
        await runtime.tell(people, Message("Lunch?", intent="request", id="m1"))
        await runtime.settle()
        answered = []
        while open_ := await runtime.pending():
            assert {one.id for one in open_}.isdisjoint(one.id for one in answered)
            question = open_[0]
            answered.append(question)
            await runtime.answer(question.id, "yes", by=question.who)
            await runtime.settle()
            for one in answered:
                with pytest.raises(AlreadyAnswered, match="was answered by"):
                    await runtime.answer(one.id, "no", by=one.who)
        assert sorted(str(one.who) for one in answered) == ["Ann", "Ann", "Bob", "Bob"]


# -- two of one name -----------------------------------------------------------------------------


@on_a_loop
async def test_two_of_one_name_are_told_apart_by_their_paths(home):
    """A name that two have says nothing; a path, an address or the node does."""
    sales = Clerk(name="sales", boss=HumanNode(name="Ann"))
    support = Clerk(name="support", boss=HumanNode(name="Ann"))
    async with home(sales, support) as runtime:
        task, [question] = await asked(runtime, sales)
        with pytest.raises(NotAsked) as error:
            await runtime.answer(question.id, "yes", by="Ann")
        assert str(error.value) == (
            "'Ann' may be any of 2: sales/Ann and support/Ann; say which, by='sales/Ann'"
        )
        for other in ("support/Ann", support.boss, support.boss.address):
            with pytest.raises(NotAsked, match="nobody else answers"):
                await runtime.answer(question.id, "yes", by=other)
        await runtime.answer(question.id, "yes", by="sales/Ann")
        assert (await task).content == "Ann: yes"


# -- deadlines and deputies ----------------------------------------------------------------------


@on_a_loop
async def test_after_the_deadline_the_deputy_is_asked(home):
    """The question goes over to him, and he answers in his own name; hers is withdrawn."""
    bob = HumanNode(name="Bob")
    clerk = Clerk(name="clerk", boss=HumanNode(name="Ann", deadline=60, deputy=bob))
    async with home(clerk) as runtime:
        task, [first] = await asked(runtime, clerk)
        assert (first.until - first.since).total_seconds() == 60
        runtime.clock.later(59)
        await runtime.settle()
        assert [str(one) for one in await runtime.pending()] == ["Ann: May I?"]
        runtime.clock.later(1)
        for _ in range(50):
            await asyncio.sleep(0)
        await runtime.settle()
        [second] = await runtime.pending()
        assert (str(second), second.until) == ("Bob: May I?", None)
        with pytest.raises(AlreadyAnswered, match="was withdrawn: nobody waits for its answer"):
            await runtime.answer(first.id, "yes", by="Ann")
        with pytest.raises(NotAsked):
            await runtime.answer(second.id, "yes", by="Ann")
        await runtime.answer(second.id, "no", by="Bob")
        assert (await task).content == "Bob: no"


@on_a_loop
async def test_before_the_deadline_nobody_else_is_asked(home):
    """An answer in time is an answer; the deputy hears nothing of it."""
    clerk = Clerk(name="clerk", boss=HumanNode(name="Ann", deadline=60, deputy=Node(name="Bob")))
    async with home(clerk) as runtime:
        task, [question] = await asked(runtime, clerk)
        runtime.clock.later(59)
        await runtime.answer(question.id, "yes", by="Ann")
        runtime.clock.later(1000)
        assert (await task).content == "Ann: yes"


@on_a_loop
async def test_deputies_have_deputies(home):
    """It goes from one to the next, each with a deadline of his own."""
    eve = HumanNode(name="Eve")
    bob = HumanNode(name="Bob", deadline=10, deputy=eve)
    clerk = Clerk(name="clerk", boss=HumanNode(name="Ann", deadline=60, deputy=bob))
    async with home(clerk, clock=FakeClock()) as runtime:
        task = asyncio.ensure_future(runtime.ask(clerk, Message("May I?", intent="request")))
        for _ in range(300):
            await asyncio.sleep(0)
        [question] = await runtime.pending()
        assert (str(question.who), runtime.clock.seconds) == ("Eve", 70)
        await runtime.answer(question.id, "yes", by=eve)
        assert (await task).content == "Eve: yes"


@on_a_loop
async def test_without_a_deputy_who_asked_gets_no_answer(home):
    """The error names the person, the question and the deadline, and what to do."""
    clerk = Clerk(name="clerk", boss=HumanNode(name="Ann", deadline=60))
    async with home(clerk, clock=FakeClock()) as runtime:
        said = await runtime.ask(clerk, Message("May I?", intent="request"))
        assert said.content == (
            "no answer: Ann did not answer 'May I?' within 60 seconds; HumanNode(deputy=...) says"
            " who is asked then"
        )
        assert await runtime.pending() == []


@pytest.mark.parametrize("deadline", [0, -1, float("nan"), float("inf")])
def test_a_deadline_is_a_time_to_come(deadline):
    """Seconds, more than none."""
    with pytest.raises(ValidationError, match="deadline"):
        HumanNode(deadline=deadline)


# -- withdrawn -----------------------------------------------------------------------------------


@on_a_loop
async def test_who_waits_no_longer_withdraws_the_question(home):
    """A late answer is refused, and nothing else changes."""
    clerk = Clerk(name="clerk", boss=HumanNode(name="Ann"), patience=5)
    async with home(clerk, clock=Held()) as runtime:
        task, [question] = await asked(runtime, clerk)
        runtime.clock.later(5)
        assert (await task).content.startswith("no answer: ")
        assert await runtime.pending() == []
        with pytest.raises(AlreadyAnswered, match="was withdrawn"):
            await runtime.answer(question.id, "yes", by="Ann")
        await runtime.settle()
        assert [*runtime.dead_letters] == []


@on_a_loop
async def test_a_cancelled_conversation_withdraws_its_questions(home):
    """The question is gone with whoever asked."""
    clerk = Clerk(name="clerk", boss=HumanNode(name="Ann"))
    async with home(clerk) as runtime:
        conversation = await runtime.tell(clerk, Message("May I?", intent="request"))
        await runtime.settle()
        [question] = await runtime.pending()
        await conversation.cancel("enough")
        assert await runtime.pending() == []
        with pytest.raises(AlreadyAnswered, match="was withdrawn"):
            await runtime.answer(question.id, "yes", by="Ann")


@on_a_loop
async def test_she_is_not_deaf_meanwhile(home):
    """While one question waits for three days another is asked and answered."""
    ann = HumanNode(name="Ann")
    one, other = Clerk(name="one", boss=ann), Clerk(name="other", boss=ann)
    async with home(one, other) as runtime:
        first, _ = await asked(runtime, one, "Now?")
        second, [_, question] = await asked(runtime, other, "Or now?")
        await runtime.answer(question.id, "now", by=ann)
        assert (await second).content == "Ann: now"
        [question] = await runtime.pending()
        await runtime.answer(question.id, "later", by=ann)
        assert (await first).content == "Ann: later"


# -- what is answered ----------------------------------------------------------------------------


@on_a_loop
async def test_an_answer_may_be_a_message_of_any_class(home):
    """It comes as it is, from her, to who asked; whoever it says it is from."""

    class Registrar(Node):
        boss: Node

        def request(self, message):
            said = yield self.boss.ask(message.content)
            return f"{type(said).__name__} {said.aye} from {said.sender} to {said.to}"

    ann, bob = HumanNode(name="Ann"), HumanNode(name="Bob")
    clerk = Registrar(name="clerk", boss=ann)
    async with home(clerk, bob) as runtime:
        for vote in (Vote("yes", aye=True), Vote("yes", aye=True, sender=bob)):
            task, [question] = await asked(runtime, clerk)
            await runtime.answer(question.id, vote, by=ann)
            assert (await task).content == "Vote True from Ann to clerk"


@on_a_loop
async def test_an_answer_is_words_or_a_message(home):
    """Anything else is refused, and the question stays open."""
    clerk = Clerk(name="clerk", boss=HumanNode(name="Ann"))
    async with home(clerk) as runtime:
        task, [question] = await asked(runtime, clerk)
        for wrong in (None, 7, ["yes"], True):
            with pytest.raises(Misused, match="an answer is words or a message"):
                await runtime.answer(question.id, wrong, by="Ann")
        await runtime.answer(question.id, "", by="Ann")
        assert (await task).content == "Ann: "


@pytest.mark.parametrize(
    ("says", "typed", "fields"),
    [
        (Vote, "yes", {"aye": True}),
        (Vote, "No ", {"aye": False}),
        (Vote, "true", {"aye": True}),
        (Vote, '{"aye": false, "content": "never"}', {"aye": False, "content": "never"}),
        (Vote, Vote("so be it", aye=True), {"aye": True, "content": "so be it"}),
        (Vote, Message("y"), {"aye": True}),
        (Seats, '{"seats": 3}', {"seats": 3, "row": "A"}),
        (Seats, '{"seats": 3, "row": "B"}', {"seats": 3, "row": "B"}),
    ],
)
@on_a_loop
async def test_words_become_the_message_that_is_wanted(home, says, typed, fields):
    """`says=` names its class: its fields as JSON or, where it has but one, its value."""
    ann = HumanNode(name="Ann", says=says)
    async with home(ann) as runtime:
        task, [question] = await asked(runtime, ann)
        assert question.says is says
        await runtime.answer(question.id, typed, by="Ann")
        said = await task
        assert type(said) is says
        assert {name: getattr(said, name) for name in fields} == fields


@pytest.mark.parametrize(
    ("says", "typed", "complaint"),
    [
        (Vote, "perhaps", "the answer is to be a test_human.Vote: Expected `bool`"),
        (Vote, '{"aye": 3}', "test_human.Vote: Expected `bool`"),
        (Vote, '{"no": true}', "test_human.Vote has no field 'no'"),
        (Vote, Seats("3", seats=3), "is to be a test_human.Vote, but got a test_human.Seats"),
        (Seats, "3", "is to be a test_human.Seats, {'seats': ..., 'row': ...}, not '3'"),
        (Seats, "{}", "test_human.Seats"),
    ],
)
@on_a_loop
async def test_what_does_not_fit_is_refused_and_may_be_said_again(home, says, typed, complaint):
    """The person hears what was expected, the asker nothing; the question stays open."""
    ann = HumanNode(name="Ann", says=says)
    async with home(ann) as runtime:
        task, [question] = await asked(runtime, ann)
        with pytest.raises(BadMessage) as error:
            await runtime.answer(question.id, typed, by="Ann")
        assert complaint in str(error.value)
        right = '{"aye": true}' if says is Vote else '{"seats": 1}'
        await runtime.answer(question.id, right, by="Ann")
        assert isinstance(await task, says)


def test_says_is_a_class_of_message():
    """Anything else is refused as the node is made."""
    for wrong in (bool, "Vote", Vote("yes", aye=True)):
        with pytest.raises(Misused, match="says= is a class of message"):
            HumanNode(says=wrong)


# -- other doors ---------------------------------------------------------------------------------


def test_without_a_runtime_nobody_can_answer():
    """It ends at once, and says for whom it waited."""
    with pytest.raises(Deadlock, match="the answer of Ann to 'Tea\\?'"):
        ask(HumanNode(name="Ann"), "Tea?")


@on_a_loop
async def test_at_the_console_she_is_asked_there(home):
    """A `ConsoleHumanNode` reads its answer itself, and is no open question."""
    boss = ConsoleHumanNode(name="Ann", screen=Screen(io.StringIO("yes\n"), sys.stdout))
    clerk = Clerk(name="clerk", boss=boss)
    async with home(clerk) as runtime:
        said = await runtime.ask(clerk, Message("May I?", intent="request"))
        assert said.content == "Ann: yes"
        assert await runtime.pending() == []
