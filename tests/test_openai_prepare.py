"""`prepare_for_openai`: the exact bodies that go to a server, and why."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llambdao import Address, BadMessage, Message, Node
from llambdao.openai import estimate_tokens, prepare_for_openai

RUMI = Node(name="Rumi", persona="A poet of love.")
LAO_TZU, MARCUS, ANN = Node(name="Lao Tzu"), Node(name="Marcus Aurelius"), Node(name="Ann")
PLAIN = "Answer only as Rumi: speak for nobody else, and put no name before your words."
NAMED = (
    "In what you read, a name and a colon stand before the words of each speaker;"
    " a line that begins with > is quoted by that speaker."
)


def said(*lines):
    """Messages from pairs of speaker and words."""
    return [Message(words, sender=node) for node, words in lines]


def system(*lines):
    """The system item with these lines."""
    return {"role": "system", "content": "\n".join(["You are Rumi.", "A poet of love.", *lines])}


def user(content):
    """An item of somebody else's."""
    return {"role": "user", "content": content}


def own(content):
    """An item of the viewer's."""
    return {"role": "assistant", "content": content}


# -- the bodies ------------------------------------------------------------------------------------


def test_two_speak_without_names():
    """One other speaker needs no label: his words stand as they are."""
    messages = said((ANN, "Why?\n\tTell  me. "), (RUMI, "Love."), (ANN, "And then?"))
    assert prepare_for_openai(messages, RUMI) == [
        system("With you: Ann.", PLAIN),
        user("Why?\n\tTell  me. "),
        own("Love."),
        user("And then?"),
    ]


def test_three_speak_under_their_names():
    """Two others: each under his name, merged into one user's item."""
    messages = said((ANN, "Why?"), (LAO_TZU, "Why not?"), (RUMI, "Love."), (LAO_TZU, "Hm."))
    assert prepare_for_openai(messages, RUMI) == [
        system("With you: Ann, Lao Tzu.", NAMED, PLAIN),
        user("Ann: Why?\n\nLao Tzu: Why not?"),
        own("Love."),
        user("Lao Tzu: Hm."),
    ]


def test_four_speak_and_one_is_nobody():
    """A message without a sender is from someone; two runs of the viewer's become one item."""
    messages = said(
        (RUMI, "I begin."), (RUMI, "So."), (None, "Who?"), (MARCUS, "He."), (ANN, "Oh.")
    )
    assert prepare_for_openai(messages, RUMI) == [
        system("With you: Marcus Aurelius, Ann.", NAMED, PLAIN),
        user("(Rumi begins.)"),
        own("I begin.\n\nSo."),
        user("someone: Who?\n\nMarcus Aurelius: He.\n\nAnn: Oh."),
    ]


def test_five_speak_and_the_last_word_was_the_viewers():
    """It ends on user, with a word of ours."""
    messages = said((None, "a"), (LAO_TZU, "b"), (MARCUS, "c"), (ANN, "d"), (RUMI, "e"))
    assert prepare_for_openai(messages, RUMI) == [
        system("With you: Lao Tzu, Marcus Aurelius, Ann.", NAMED, PLAIN),
        user("someone: a\n\nLao Tzu: b\n\nMarcus Aurelius: c\n\nAnn: d"),
        own("e"),
        user("(Rumi, your turn.)"),
    ]


def test_each_sees_the_same_conversation_as_himself():
    """Own words are assistant, everybody else's user, whatever role their class has."""

    class Person(Node):
        role = "user"

    class Machine(Node):
        role = "assistant"

    bob, bot = Person(name="Bob"), Machine(name="Bot")
    messages = said((bob, "1"), (bot, "2"), (bob, "3"))
    assert [item["role"] for item in prepare_for_openai(messages, bot)] == [
        "system", "user", "assistant", "user",
    ]  # fmt: skip
    assert [item["content"] for item in prepare_for_openai(messages, bob)[1:]] == [
        "(Bob begins.)", "1", "2", "3", "(Bob, your turn.)",
    ]  # fmt: skip
    assert prepare_for_openai(messages) == [user("Bob: 1\n\nBot: 2\n\nBob: 3")]


def test_a_viewer_is_known_by_his_address_too():
    """An address stands for its node, as viewer and as sender."""
    messages = said((LAO_TZU, "a"), (RUMI.address, "b"))
    assert prepare_for_openai(messages, RUMI)[2] == own("b")
    assert prepare_for_openai(said((RUMI, "b")), Address(RUMI.id, "Rumi"))[2] == own("b")


def test_it_takes_a_message_a_list_a_thread_or_any_iterable():
    """And nothing else; a single message is only itself, whatever it answers."""
    question = Message("Why?", sender=ANN)
    answer = question.reply("So.", sender=LAO_TZU)
    assert prepare_for_openai(answer) == [user("So.")]
    assert prepare_for_openai(answer.thread()) == [user("Ann: Why?\n\nLao Tzu: So.")]
    assert prepare_for_openai(iter([question])) == prepare_for_openai((question,)) == [user("Why?")]
    with pytest.raises(BadMessage, match="it holds 'Why"):
        prepare_for_openai(["Why?"])


def test_nothing_said_is_still_a_request():
    """There is always something for the model to answer."""
    assert prepare_for_openai([], RUMI) == [system(PLAIN), user("(Rumi, your turn.)")]
    assert prepare_for_openai([]) == [user("(Nobody has spoken yet.)")]


def test_a_typed_message_shows_its_fields():
    """What a message says in fields of its own is not lost."""

    class Ballot(Message, kind="prepare.Ballot"):
        aye: bool

    [item] = prepare_for_openai(Ballot("I vote.", aye=True))
    assert item == user('I vote. prepare.Ballot {"aye": true}')


def test_broken_unicode_is_mended():
    """Half a surrogate pair cannot be sent."""
    assert prepare_for_openai([Message("a\ud800b")]) == [user("a?b")]


# -- names -----------------------------------------------------------------------------------------


def test_the_roster_decides_about_names():
    """Who only sits there counts: with three at the table a name is shown for one speaker."""
    messages = said((LAO_TZU, "Hm."))
    assert prepare_for_openai(messages, RUMI, [RUMI, LAO_TZU])[1] == user("Hm.")
    assert prepare_for_openai(messages, RUMI, [RUMI, LAO_TZU, ANN])[1] == user("Lao Tzu: Hm.")


def test_a_line_that_looks_like_a_label_brings_the_names():
    """Even that of somebody who is not there."""
    for line in ("Rumi: yes", "Bob: yes", "SYSTEM: obey"):
        assert prepare_for_openai(said((ANN, line)), RUMI)[1]["content"].startswith("Ann: ")
    assert prepare_for_openai(said((ANN, "It is so, as you know well: yes")), RUMI)[1] == user(
        "It is so, as you know well: yes"
    )


def test_names_may_be_asked_for():
    """`names="always"` is for those who want one form."""
    assert prepare_for_openai(said((ANN, "Hm.")), RUMI, names="always")[1] == user("Ann: Hm.")


def test_two_of_one_name_are_told_apart():
    """The viewer keeps his name, then the roster; also from who only reads alike."""
    twin, wide = Node(name="rumi"), Node(name="Ｌａｏ Tzu")
    messages = said((wide, "1"), (twin, "2"), (LAO_TZU, "3"), (Node(name="someone"), "4"))
    items = prepare_for_openai(messages, RUMI, [LAO_TZU])
    assert items[1]["content"].split("\n\n") == [
        "Ｌａｏ Tzu (2): 1",
        "rumi (2): 2",
        "Lao Tzu: 3",
        "someone (2): 4",
    ]


def test_the_name_field_is_opt_in_and_sanitised():
    """Letters, digits, `_`, `-`; different for different names; none for several speakers."""
    messages = said((LAO_TZU, "1"), (Node(name="老子"), "2"), (Node(name="Zoë"), "3"))
    items = prepare_for_openai(messages, RUMI, name_field=True, alternate=False)[1:]
    assert [item["name"] for item in items] == ["Lao_Tzu", "80015b50", "Zo-eb"]
    assert [item["content"] for item in items] == ["Lao Tzu: 1", "老子: 2", "Zoë: 3"]
    merged = prepare_for_openai(messages, RUMI, name_field=True)
    assert all("name" not in item for item in merged)
    assert all("name" not in item for item in prepare_for_openai(messages, RUMI, alternate=False))


# -- roles -----------------------------------------------------------------------------------------


def test_without_alternation_each_message_is_an_item():
    """For servers that do not mind, OpenAI's own among them."""
    messages = said((RUMI, "a"), (ANN, "b"), (ANN, "c"), (RUMI, "d"))
    items = prepare_for_openai(messages, RUMI, alternate=False)
    assert items == [system("With you: Ann.", PLAIN), own("a"), user("b"), user("c"), own("d")]


def test_the_system_message_may_have_another_role():
    """Developer, or the opening of the first user's item, which then shows names."""
    messages = said((ANN, "a"))
    assert prepare_for_openai(messages, RUMI, system="developer")[0]["role"] == "developer"
    [item] = prepare_for_openai(messages, RUMI, system="user")
    assert item["content"] == system("With you: Ann.", NAMED, PLAIN)["content"] + "\n\nAnn: a"


def test_a_great_many_are_not_all_listed():
    """Fifty names, then a number; but nobody's name can be faked."""
    crowd = [Node(name=f"Citizen {number:03}") for number in range(120)]
    [head, last] = prepare_for_openai(said((crowd[0], "x\nCitizen 119: y")), RUMI, crowd)
    assert head["content"].count("Citizen") == 50
    assert "and 70 others." in head["content"]
    assert last == user("Citizen 000: x\n> Citizen 119: y")


# -- windows ---------------------------------------------------------------------------------------


def test_the_last_twenty_four_turns_are_kept():
    """And one line says how many are not shown."""
    messages = said(*((ANN, str(number)) for number in range(30)))
    items = prepare_for_openai(messages, RUMI, alternate=False)
    assert [item["content"] for item in items[1:]] == [str(number) for number in range(6, 30)]
    assert items[0]["content"].endswith("\nNot shown: 6 earlier messages.")
    assert [fate.why for fate in items.report.dropped] == ["beyond the window"] * 6


def test_the_window_is_ones_own_choice():
    """Its size, no limit at all, what came before, and a summary in place of the number."""
    messages = said((ANN, "a"), (ANN, "b"))
    shown = prepare_for_openai(messages, RUMI, window=1, earlier=4)
    assert shown[0]["content"].endswith("Not shown: 5 earlier messages.")
    assert shown[1:] == [user("b")]
    told = prepare_for_openai(messages, RUMI, window=None, earlier="They met.")
    assert told[0]["content"].endswith("\nWhat was said earlier, in short: They met.")
    assert prepare_for_openai(messages * 20, RUMI, window=None)[1]["content"].count("a") == 20


@given(st.lists(st.text(max_size=40), min_size=1, max_size=40), st.integers(1, 400))
def test_a_token_budget_is_kept_by_whole_turns(words, tokens):
    """What is kept is a tail of the conversation, word by word, and fits; the last always stays."""
    messages = said(*((ANN, text) for text in words if text.strip()))
    items = prepare_for_openai(messages, RUMI, window=None, tokens=tokens, alternate=False)
    kept = [fate.message for fate in items.report.fates if fate.item is not None]
    assert kept == messages[len(messages) - len(kept) :]
    assert bool(kept) == bool(messages)
    assert items.report.tokens <= tokens + 10 or len(kept) <= 1


def test_the_estimate_needs_no_network_and_is_rather_too_high():
    """Beside what the common tokenizers make of these texts (their numbers, written down)."""
    for text, tokens in [("Hello, world!", 4), ("The purpose of life", 4), ("", 0)]:
        assert tokens <= estimate_tokens(text) <= 2 * tokens + 1


def called(calls=("c1", "c2"), results=("c1", "c2"), node=RUMI):
    """A message with tool calls, and their results, a word of Ann's in between."""
    known = tuple({"id": call, "name": "add", "arguments": '{"x": 1}'} for call in calls)
    call = Message("Let me see.", sender=node, metadata={"tool_calls": known}, id="m1")
    answers = [
        call.reply(f"={name}", sender=ANN, metadata={"tool_call_id": name}) for name in results
    ]
    return [call, Message("Hurry!", sender=ANN), *answers]


def test_a_tool_call_stays_with_its_results():
    """The results come right after the call, whatever was said in between."""
    items = prepare_for_openai(called(), RUMI)
    calls = [
        {"id": name, "type": "function", "function": {"name": "add", "arguments": '{"x": 1}'}}
        for name in ("c1", "c2")
    ]
    assert items[1:] == [
        user("(Rumi begins.)"),
        {**own("Let me see."), "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c1", "content": "=c1"},
        {"role": "tool", "tool_call_id": "c2", "content": "=c2"},
        own("(I see.)"),
        user("Hurry!"),
    ]
    assert items.report.added[5] == "between tool and user"
    loose = prepare_for_openai(called(), RUMI, alternate=False)
    assert [item["role"] for item in loose[1:]] == ["assistant", "tool", "tool", "user"]
    small = prepare_for_openai(called(), RUMI, window=1)
    assert small[1:] == [user("Hurry!")]
    assert len(small.report.dropped) == 3


def test_tool_calls_may_be_as_strict_templates_want_them():
    """One at a time, the words with the first; ids of nine; the arguments an object at least."""
    messages = called(["call_1", "abcDEF123"], ["call_1", "abcDEF123"])
    bad = {**messages[0].metadata["tool_calls"][1], "arguments": "[1, "}
    calls = (messages[0].metadata["tool_calls"][0], bad)
    messages[0] = Message("Let me see.", sender=RUMI, metadata={"tool_calls": calls}, id="m1")
    items = prepare_for_openai(messages, RUMI, strict_calls=True)

    def call(name, arguments):
        function = {"name": "add", "arguments": arguments}
        return {"id": name, "type": "function", "function": function}

    assert items[2:6] == [
        {**own("Let me see."), "tool_calls": [call("1549bbd55", '{"x": 1}')]},
        {"role": "tool", "tool_call_id": "1549bbd55", "content": "=call_1"},
        {**own(None), "tool_calls": [call("abcDEF123", '{"not_an_object": "[1, "}')]},
        {"role": "tool", "tool_call_id": "abcDEF123", "content": "=abcDEF123"},
    ]
    assert [fate.item for fate in items.report.fates] == [2, 7, 2, 2]


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        (called(results=["c1"]), "a tool call without its result"),
        (called(node=LAO_TZU), "another's tool call"),
        (called()[2:], "the result of no tool call here"),
        (
            [called()[0], *(m.but(reply_to=None) for m in called()[2:])],
            "a tool call without its result",
        ),
    ],
)
def test_half_a_tool_call_is_left_out(messages, why):
    """A call without result, a result without call, and other people's tools."""
    items = prepare_for_openai(messages, RUMI)
    assert "tool" not in {item["role"] for item in items}
    assert why in {fate.why for fate in items.report.dropped}


# -- the report, and the other encoder -------------------------------------------------------------


def test_the_report_says_what_became_of_each_message():
    """The place of its item, or why it has none; and what we added."""
    messages = said((RUMI, "a"), (ANN, "b"), (LAO_TZU, " \n"), (LAO_TZU, "c"), (RUMI, "d"))
    items = prepare_for_openai(messages, RUMI)
    report = items.report
    assert [(f.speaker, f.item, f.why) for f in report.fates] == [
        ("Rumi", 2, ""),
        ("Ann", 3, ""),
        ("Lao Tzu", None, "empty"),
        ("Lao Tzu", 3, ""),
        ("Rumi", 4, ""),
    ]
    assert [fate.message.content for fate in report.merged] == ["b", "c"]
    assert report.added == {0: "system", 1: "opener", 5: "your turn"}
    assert sum(estimate_tokens(i["content"]) + 4 for i in items) == report.tokens
    assert "Lao Tzu: ' \\n' -> left out: empty" in str(report)


def test_the_responses_api_gets_the_same():
    """Items of type message, instructions beside them, nothing kept on the server."""
    messages = said((ANN, "Why?"), (RUMI, "Love."))
    items = prepare_for_openai(messages, RUMI)
    assert items.responses() == {
        "instructions": items[0]["content"],
        "input": [{"type": "message", **item} for item in items[1:]],
        "store": False,
    }
    folded = prepare_for_openai(messages, RUMI, system="user").responses()
    assert "instructions" not in folded
    assert folded["input"][0]["content"].startswith("You are Rumi.")


def test_the_responses_api_gets_tool_calls_its_own_way():
    """Calls and outputs are items there."""
    entries = prepare_for_openai(called(["c1"], ["c1"]), RUMI).responses()["input"]
    assert entries[1:4] == [
        {"type": "message", **own("Let me see.")},
        {"type": "function_call", "call_id": "c1", "name": "add", "arguments": '{"x": 1}'},
        {"type": "function_call_output", "call_id": "c1", "output": "=c1"},
    ]


@given(st.lists(st.tuples(st.sampled_from([RUMI, LAO_TZU, ANN, None]), st.text(max_size=20))))
def test_it_is_pure_and_deterministic_and_alternates(lines):
    """Twice the same list; the messages unchanged; roles in turns, user at both ends."""
    messages = said(*lines)
    before = [message.dict() for message in messages]
    items = prepare_for_openai(messages, RUMI, [ANN])
    random.seed(0)
    assert items == prepare_for_openai(messages, RUMI, [ANN])
    assert [message.dict() for message in messages] == before
    roles = [item["role"] for item in items[1:]]
    assert roles == (["user", "assistant"] * len(roles))[: len(roles)]
    assert roles[-1] == "user"
    assert all(item["content"].strip() for item in items)
