"""Random programs: nodes with scripts of steps, in networks of networks, drawn by Hypothesis.

A program is plain data, so that it is shown when it fails: for each node what it is, and the steps
of its script; nodes speak only to later ones, so that every script comes to its end. `build` makes
nodes of it, each with a handler of the kind that is chosen for it.
"""

from contextlib import suppress

from hypothesis import strategies as st

from kinds import ALL, KINDS, SPEAKING
from llambdao import (
    GroupChatNode,
    MapperNode,
    Message,
    NoAnswer,
    Node,
    Pipeline,
    all_of,
    any_of,
    sleep,
    turns,
)

WORDS = st.sampled_from(["yes", "no", "perhaps"])


def steps_to(others):
    """A step of a script: what is said, asked, told, slept; the others are whom to speak to."""
    steps = [
        st.tuples(st.just("say"), WORDS),
        st.tuples(st.just("name"), WORDS),
        st.tuples(st.just("list"), st.lists(WORDS, max_size=3)),
        st.tuples(st.just("sleep"), st.integers(0, 3)),
        st.tuples(st.just("fail"), st.booleans()),
    ]
    if others:
        one = st.sampled_from(others)
        some = st.lists(one, min_size=1, max_size=3)
        steps += [
            st.tuples(st.just("ask"), one),
            st.tuples(st.just("every"), one),
            st.tuples(st.just("patience"), one),
            st.tuples(st.just("tell"), one),
            st.tuples(st.just("all"), some),
            st.tuples(st.just("any"), some),
            st.tuples(st.just("stream"), one),
        ]
    return st.one_of(*steps)


@st.composite
def programs(draw, most=5):
    """For each node, the first one first: what it is, and its steps or its members."""
    size = draw(st.integers(1, most))
    nodes = []
    for number in range(size):
        others = list(range(number + 1, size))
        what = draw(st.sampled_from(["speaker", "speaker", "mapper", "group", "pipeline"]))
        if what == "speaker" or not others:
            nodes.append(("speaker", draw(st.lists(steps_to(others), max_size=4))))
        else:
            members = st.lists(st.sampled_from(others), min_size=1, max_size=3, unique=True)
            nodes.append((what, draw(members)))
    return tuple(nodes)


def kinds_for(steps):
    """The kinds of handler that such a script can have."""
    spoken = waited = False
    kinds = set(ALL)
    for word, _ in steps:
        if word in ("say", "name", "list"):
            spoken = True
        else:
            waited = True
            if spoken:
                kinds &= set(SPEAKING)
            if word == "fail":
                kinds -= {"plain"}
    if waited:
        kinds -= {"plain"}
    return sorted(kinds)


@st.composite
def programs_with_kinds(draw, most=5):
    """A program, and a kind of handler for each of its nodes."""
    program = draw(programs(most))
    kinds = [
        draw(st.sampled_from(kinds_for(rest))) if what == "speaker" else "generator"
        for what, rest in program
    ]
    return program, tuple(kinds)


def fail(self, message, what):
    """Fail, if it is to, at messages of odd length."""
    if what and len(message.content) % 2:
        raise ZeroDivisionError(self.name)


STEPS = {
    "say": lambda self, nodes, what: f"{what} by {self.name}",
    "name": lambda self, nodes, what: Message(what, intent="inform"),
    "list": lambda self, nodes, what: list(what),
    "sleep": lambda self, nodes, what: sleep(what),
    "ask": lambda self, nodes, what: nodes[what].ask("a?", intent="chat"),
    "every": lambda self, nodes, what: nodes[what].ask("every?", intent="chat", every=True),
    "patience": lambda self, nodes, what: nodes[what].ask("soon?", intent="chat", timeout=2),
    "tell": lambda self, nodes, what: nodes[what].tell("told"),
    "all": lambda self, nodes, what: all_of(*(nodes[one].ask("all?", "chat") for one in what)),
    "any": lambda self, nodes, what: any_of(*(nodes[one].ask("any?", "chat") for one in what)),
    "stream": lambda self, nodes, what: nodes[what].stream("go on", intent="chat"),
}
"""What each step yields."""


def script_of(steps, nodes):
    """A script that does these steps; silence does not stop it."""

    def script(self, message):
        for word, what in steps:
            if word == "fail":
                fail(self, message, what)
                continue
            with suppress(NoAnswer):
                yield STEPS[word](self, nodes, what)

    return script


def build(program, kinds=None):
    """The first node of a program, with handlers of these kinds, generators unless given."""
    kinds = kinds or ["generator"] * len(program)
    nodes = [None] * len(program)
    for number in reversed(range(len(program))):
        (what, rest), name = program[number], f"n{number}"
        if what == "speaker":
            handler = KINDS[kinds[number]](script_of(rest, nodes))
            body = {"chat": handler, "inform": handler, "__module__": __name__}
            nodes[number] = type("Speaker", (Node,), body)(name=name)
        else:
            members = [nodes[one] for one in rest]
            if what == "group":
                nodes[number] = GroupChatNode(*members, until=turns(4), name=name)
            else:
                cls = MapperNode if what == "mapper" else Pipeline
                nodes[number] = cls(*members, name=name)
    return nodes[0]
