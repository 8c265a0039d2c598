"""Memory: what was said long ago is found again, and what leaves the window is summed up."""

import sqlite3
from pathlib import Path

import pytest

from llambdao import Message, Node, ask, tell
from llambdao.kernel.errors import Misused
from llambdao.openai import (
    BadMemory,
    FunctionModel,
    MemoryFailed,
    MemoryIsReadOnly,
    OpenAINode,
    RecallNode,
    ScriptedModel,
    SummaryNode,
    ToolCall,
)
from llambdao.openai import _memory as memory_module
from llambdao.testing import check_node

RUMI = Node(name="Rumi")


@pytest.fixture
def path(tmp_path):
    """Where a memory is to be."""
    return str(tmp_path / "memory.db")


def remember(node, *words, sender=None):
    """Inform a node."""
    for one in words:
        tell(node, Message(one, intent="inform", sender=sender))


def recalled(node, question):
    """The lines of an answer, without their days."""
    return [line.partition(" ")[2] for line in ask(node, question).content.splitlines()]


# -- recall ----------------------------------------------------------------------------------------


def test_what_fits_is_found_again_after_a_restart(path):
    """By another node on the same file, oldest first, with the speaker."""
    remember(RecallNode(path=path), "The cat is called Momo.", "It rains.", sender=RUMI)
    remember(RecallNode(path=path), "Cats sleep all day.", "What is the time?")
    found = recalled(RecallNode(path=path), "What is the name of the cat?")
    assert found == ["Rumi: The cat is called Momo."]
    assert recalled(RecallNode(path=path), "Rumi?") == [
        "Rumi: The cat is called Momo.",
        "Rumi: It rains.",
    ]


@pytest.mark.parametrize(
    ("said", "question"),
    [
        ("Der Käse schmeckt.", "kase"),
        ("道可道非常道", "常道是什么"),
        ("I paid 42 euros (plus VAT).", "42?"),
        ('He said "NEAR(a b) OR *"', "NEAR"),
        ("and or not", "or"),
    ],
)
def test_words_of_any_script_are_found(path, said, question):
    """Whatever the index would take for a command is a word like any other."""
    memory = RecallNode(path=path)
    remember(memory, said, "Something else.")
    assert recalled(memory, question) == [f"someone: {said}"]


@pytest.mark.parametrize("question", ["", "?", '"', "zebra", "() *", "AND", "'; DROP TABLE said"])
def test_where_nothing_fits_it_says_so(path, question):
    """And nothing a question holds can do harm."""
    memory = RecallNode(path=path)
    assert ask(memory, question).content == "Nothing that I remember fits that."
    remember(memory, "The cat is called Momo.")
    assert ask(memory, question).content == "Nothing that I remember fits that."
    assert recalled(memory, "cat") == ["someone: The cat is called Momo."]


def test_of_thousands_the_best_are_found(path):
    """Only as many as are wanted, the rarest words first."""
    memory = RecallNode(path=path, most=3)
    memory_module._remember(path, "first", "2030-01-01", "Ann", "The zebra is in the garden.", None)
    with memory_module._open(path) as base, base:
        for number in range(5000):
            row = (f"m{number}", "2030-01-02", "Bob", f"The garden has tree {number}.")
            base.execute("INSERT INTO said (id, at, speaker, content) VALUES (?, ?, ?, ?)", row)
            base.execute(
                "INSERT INTO words (rowid, speaker, content) VALUES (last_insert_rowid(), ?, ?)",
                row[2:],
            )
    assert "Bob: The garden has tree 1234." in recalled(memory, "Which tree was number 1234?")
    found = recalled(memory, "Is a zebra in the garden?")
    assert len(found) == 3
    assert found[0] == "Ann: The zebra is in the garden."


def test_the_same_message_is_remembered_once(path):
    """However often it is told."""
    memory = RecallNode(path=path)
    message = Message("The cat is called Momo.", intent="inform", id="m1")
    for _ in range(2):
        memory_module._remember(path, message.id, "2030-01-01", "Ann", message.content, None)
    assert recalled(memory, "cat") == ["Ann: The cat is called Momo."]


def test_no_line_of_a_memory_looks_like_another(path):
    """A message is one line, whatever is in it."""
    memory = RecallNode(path=path)
    remember(memory, "The cat.\n2030-01-01 Rumi: I owe you a cat.")
    assert recalled(memory, "cat") == ["someone: The cat. 2030-01-01 Rumi: I owe you a cat."]


MEANING = {"feline": [1, 0, 0.1], "cat": [1, 0.1, 0], "rain": [0, 1, 0], "dog": [0.2, 0, 1]}


def meaning(text):
    """A meaning for each word that is known."""
    return next((vector for word, vector in MEANING.items() if word in text), [0.1, 0.1, 0.1])


async def slow_meaning(text):
    """The same, by a coroutine."""
    return meaning(text)


@pytest.mark.parametrize("embed", [meaning, slow_meaning])
def test_what_is_near_in_meaning_is_found_too(path, embed):
    """Even without a word in common; what fits by both comes first."""
    memory = RecallNode(path=path, embed=embed, most=1)
    remember(memory, "It is a rainy day.", "The cat is called Momo.", "A dog barks.")
    assert recalled(memory, "feline") == ["someone: The cat is called Momo."]
    assert recalled(memory, "dog") == ["someone: A dog barks."]


def test_embeddings_of_another_length_are_refused(path):
    """And what is no embedding."""
    remember(RecallNode(path=path, embed=meaning), "The cat.")
    with pytest.raises(BadMemory, match="embeddings of 3 numbers, and embed gives 2"):
        ask(RecallNode(path=path, embed=lambda text: [1, 2]), "cat")
    for wrong in ([], [0, 0, 0], [float("nan")]):
        with pytest.raises(MemoryFailed, match="finite numbers that are not all 0"):
            ask(RecallNode(path=path, embed=lambda text, wrong=wrong: wrong), "cat")
    with pytest.raises(Misused, match="embed is a function"):
        RecallNode(path=path, embed=3)


def test_a_model_can_use_it_as_a_tool(path):
    """Linked, it is a function with a description; what it finds goes back to the model."""
    memory = RecallNode(name="memory", path=path)
    remember(memory, "The cat is called Momo.")
    model = ScriptedModel(
        ToolCall("c1", "memory_request", '{"content": "the cat\'s name"}'), "It is Momo."
    )
    ann = OpenAINode(name="Ann", model=model)
    ann.link(memory)
    assert ask(ann, "What is the cat called?").content == "It is Momo."
    [tool] = model.asked[0]["tools"]
    assert (tool.name, "said earlier" in tool.description) == ("memory_request", True)
    assert "Momo" in model.requests[1][-1]["content"]


def test_it_is_a_good_node(tmp_path):
    """By the conformance suite."""
    paths = iter(range(1000))
    messages = [Message("It rains.", intent="inform"), Message("rain?", intent="query")]
    check_node(lambda: RecallNode(path=str(tmp_path / f"{next(paths)}.db")), messages)


# -- files that are not as they should be ----------------------------------------------------------


def test_a_file_that_is_no_memory_is_refused(path):
    """Text, or a database of something else; it is left as it was."""
    Path(path).write_text("Dear diary, " * 100)
    for use in (lambda m: ask(m, "cat"), lambda m: remember(m, "cat")):
        with pytest.raises(BadMemory, match="is no memory, or is damaged"):
            use(RecallNode(path=path))
    other = path + "2"
    base = sqlite3.connect(other)
    base.execute("CREATE TABLE bills (euros)")
    base.commit()
    base.close()
    with pytest.raises(BadMemory, match="a database of something else"):
        ask(RecallNode(path=other), "cat")
    base = sqlite3.connect(path + "3")
    base.execute("PRAGMA user_version = 7")
    base.commit()
    base.close()
    with pytest.raises(BadMemory, match="a memory of format 7, and this release reads 1"):
        ask(RecallNode(path=path + "3"), "cat")


def test_a_damaged_memory_is_named(path):
    """Pages overwritten in the middle."""
    memory = RecallNode(path=path)
    for number in range(60):
        memory_module._remember(
            path, f"m{number}", "2030-01-01", "Ann", f"cat {number} " * 50, None
        )
    with Path(path).open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096 * 6)
    with pytest.raises(BadMemory, match="damaged"):
        ask(memory, "cat")


def test_a_memory_that_cannot_be_written_can_still_be_asked(path, monkeypatch):
    """Writing is `MemoryIsReadOnly`."""
    memory = RecallNode(path=path)
    remember(memory, "The cat is called Momo.")
    connect = sqlite3.connect
    monkeypatch.setattr(
        sqlite3, "connect", lambda p, **o: connect(f"file:{p}?mode=ro", uri=True, **o)
    )
    assert recalled(memory, "cat") == ["someone: The cat is called Momo."]
    with pytest.raises(MemoryIsReadOnly, match="cannot be written"):
        remember(memory, "It rains.")


def test_a_folder_that_is_not_there_is_named(tmp_path):
    """When something is to be remembered; before that nothing is known."""
    memory = RecallNode(path=str(tmp_path / "no" / "memory.db"))
    assert ask(memory, "cat").content == "Nothing that I remember fits that."
    with pytest.raises(MemoryFailed, match="is its folder there"):
        remember(memory, "It rains.")


# -- minutes ---------------------------------------------------------------------------------------


def counting(messages):
    """Says how many items it saw."""
    return f"I see {sum(item['role'] != 'system' for item in messages)}."


def test_what_leaves_the_window_is_summed_up():
    """By the minutes, half a window at a time; until then it is shown."""
    writer = ScriptedModel(*(f"Summary {n}." for n in range(20)))
    minutes = SummaryNode(model=writer)
    model = ScriptedModel(*map(str, range(100)))
    ann = OpenAINode(name="Ann", model=model, window=4, minutes=minutes)
    for number in range(10):
        ask(ann, f"Question {number}?")
    first = next(n for n, r in enumerate(model.requests) if "Summary 0." in r[0]["content"])
    shown = [item["content"] for item in model.requests[first - 1] if item["role"] == "user"]
    assert shown[0] == "Question 0?"  # nothing was lost before it was summed up
    assert "What was said earlier, in short: Summary 0." in model.requests[first][0]["content"]
    assert "Question 0?" in str(writer.requests[0])
    assert "Summary 0." in str(writer.requests[1])  # and the next one goes on from it
    everything = str(writer.requests) + str(model.requests[-1])
    assert all(f"Question {number}?" in everything for number in range(10))
    assert len(ann.messages) <= 4
    assert len(ann.leaving) < 2


def test_thousands_of_messages_cost_a_window():
    """What is sent stays small, and so does what is kept."""
    sizes = []

    def size(messages):
        sizes.append(len(messages))
        return "Yes."

    minutes = SummaryNode(model=FunctionModel(lambda messages: "They said yes."))
    ann = OpenAINode(name="Ann", model=FunctionModel(size), window=8, minutes=minutes)
    for number in range(1500):
        ask(ann, f"Is it {number}?")
    assert max(sizes) <= 8 + 4 + 2
    assert ann.summary == "They said yes."
    assert ann.forgotten == 3000 - 8
    assert len(ann.messages) + len(ann.leaving) + len(minutes.messages) <= 8 + 4 + 24


def test_a_memory_may_keep_the_minutes(path):
    """Any node that is informed and queried does."""
    memory = RecallNode(path=path)
    ann = OpenAINode(name="Ann", model=FunctionModel(counting), window=2, minutes=memory)
    ask(ann, Message("The cat is called Momo.", sender=RUMI))
    for words in ("The cat sleeps.", "It rains.", "Well?"):
        ask(ann, words)
    assert recalled(memory, "cat") == [
        "Rumi: The cat is called Momo.",
        "somebody: The cat sleeps.",
    ]


class Box(Node):
    """A tool."""

    def query(self, message):
        """What is in the box."""
        return "a cat"


def test_rounds_of_tools_do_not_narrow_the_window():
    """What was remembered when the question came is shown to the end."""
    calls = [ToolCall(f"c{n}", "box_query", f'{{"content": "{n}"}}') for n in range(4)]
    model = ScriptedModel("One.", *calls, "Done.")
    ann = OpenAINode(name="Ann", model=model, window=3, tools=[Box(name="box")])
    ask(ann, "First?")
    ask(ann, "Second?")
    for request in model.requests[1:]:
        assert [item["content"] for item in request[1:4]] == ["First?", "One.", "Second?"]
