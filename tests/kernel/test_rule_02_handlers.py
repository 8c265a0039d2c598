"""Rule 2: four kinds of handler, one meaning; what they may produce, and what not."""

from contextlib import suppress
from functools import wraps
from inspect import unwrap

import pytest

from drivers import every_driver
from kinds import ALL, SPEAKING, kinds
from llambdao import Message, Node, sleep
from transcript import lines


class Peer(Node):
    """Answers a request."""

    def request(self, message):
        return "pong"


class Plain(Node):
    """A plain function."""

    def chat(self, message):
        return "one"


class Generator(Node):
    """A generator that says something and returns something."""

    def chat(self, message):
        yield "one"
        return "two"


class Coroutine(Node):
    """A coroutine."""

    async def chat(self, message):
        return "one"


class AsyncGenerator(Node):
    """An async generator."""

    async def chat(self, message):
        yield "one"
        yield "two"


@every_driver
@pytest.mark.parametrize(
    ("cls", "contents"),
    [
        (Plain, ["one"]),
        (Generator, ["one", "two"]),
        (Coroutine, ["one"]),
        (AsyncGenerator, ["one", "two"]),
    ],
)
def test_four_kinds_of_handler(cls, contents, drive):
    """Rule 2: function, generator, coroutine, async generator: what is returned is said last."""
    outcome = drive(lambda: cls(name="Bob").receive("go"))
    assert lines(outcome.replies) == [f"Bob > you: {words} (chat)" for words in contents]


@every_driver
@kinds("plain", "generator", "coroutine", "async-generator")
def test_a_handler_may_say_nothing(handler, drive):
    """Rule 2: producing nothing is fine, from outside too."""

    class Mute(Node):
        @handler
        def chat(self, message):
            heard.append(message.content)
            return
            yield

    heard = []
    outcome = drive(lambda: Mute().receive("go"))
    assert (outcome.contents, heard, outcome.reason) == ([], ["go"], "done")


def _list(*said):
    return [*said]


def _tuple(*said):
    return said


def _generator(*said):
    yield from said


@every_driver
@pytest.mark.parametrize("many", [_list, _tuple, _generator])
@pytest.mark.parametrize("kind", ["returned", "yielded", "coroutine", "async generator"])
def test_lists_tuples_and_generators_are_said_one_by_one(many, kind, drive):
    """Rule 2: of `str` and `Message`, in order, wherever they come from; empty ones are silent."""

    class Returned(Node):
        def chat(self, message):
            return many("a", Message("b"), "c")

    class Yielded(Node):
        def chat(self, message):
            yield many("a", Message("b"))
            yield many()
            yield "c"

    class Awaited(Node):
        async def chat(self, message):
            return many("a", Message("b"), "c")

    class Async(Node):
        async def chat(self, message):
            yield many()
            yield many("a")
            yield many(Message("b"), "c")

    cls = {
        "returned": Returned,
        "yielded": Yielded,
        "coroutine": Awaited,
        "async generator": Async,
    }[kind]
    assert drive(lambda: cls().receive("go")).contents == ["a", "b", "c"]


@every_driver
def test_lists_in_lists_are_said_in_order(drive):
    """Rule 2: a list of lists is said item by item as well."""

    class Nested(Node):
        def chat(self, message):
            yield ["a", ["b", ("c",)], "d"]
            return ["e"]

    assert drive(lambda: Nested().receive("go")).contents == ["a", "b", "c", "d", "e"]


@every_driver
@pytest.mark.parametrize("bad", [42, 4.2, {"a": 1}, object(), b"bytes", {"set"}, True])
@kinds("plain", "generator", "coroutine", "async-generator")
def test_anything_else_is_a_type_error_that_shows_the_line(handler, bad, drive):
    """Rule 2: it names what was said, what was expected, and the file of the handler."""

    class Odd(Node):
        @handler
        def chat(self, message):
            yield bad

    outcome = drive(lambda: Odd(name="Odd").receive("go"))
    assert isinstance(outcome.error, TypeError)
    text = str(outcome.error)
    assert repr(bad)[:20] in text
    assert "Message" in text
    assert ".py:" in text


def test_the_line_of_the_mistake_is_shown():
    """Rule 2: in a generator it is the very line of the `yield`."""

    class Odd(Node):
        def chat(self, message):
            yield "fine"
            yield 42  # the line

    with pytest.raises(TypeError) as caught:
        list(Odd().receive("go"))
    first = Odd.chat.__code__.co_firstlineno
    assert f"{__file__}:{first + 2}" in str(caught.value)


def decorated(function):
    """A decorator that calls the handler, as most do."""

    @wraps(function)
    def call(self, message):
        return function(self, message)

    return call


def outer(function):
    """A decorator that drives the handler from a generator of its own."""

    @wraps(function)
    def drive(self, message):
        yield from function(self, message)

    return drive


class Decorated(Node):
    """Says what cannot be said, in handlers of several kinds behind decorators."""

    @decorated
    def chat(self, message):
        return 42  # a plain handler is over: where it begins

    @decorated
    def request(self, message):
        yield "fine"
        yield 42  # here

    @outer
    @decorated
    def query(self, message):
        yield "fine"
        yield 42  # here

    async def inform(self, message):
        yield "fine"
        yield 42  # here

    @wraps(sorted)
    def step(self, message):
        return 42  # as far as there is Python to be seen


@pytest.mark.parametrize(
    ("word", "line"), [("chat", 0), ("request", 3), ("query", 4), ("inform", 2), ("step", 0)]
)
def test_the_line_of_the_mistake_is_shown_behind_decorators(word, line):
    """Rule 2: it is the handler's line that is shown, not one of the decorator."""
    with pytest.raises(TypeError) as caught:
        list(Decorated(name="Odd").receive(Message("go", intent=word)))
    first = unwrap(getattr(Decorated, word), stop=lambda f: f.__name__ == "sorted").__code__
    assert f"Odd.{word} ({__file__}:{first.co_firstlineno + line}) said" in str(caught.value)


@every_driver
def test_the_type_error_is_raised_at_the_yield(drive):
    """Rule 2: so the handler can catch it, and its `finally` runs."""

    class Odd(Node):
        def chat(self, message):
            try:
                yield 42
            except TypeError:
                yield "sorry"

    assert drive(lambda: Odd().receive("go")).contents == ["sorry"]


@every_driver
def test_something_else_in_a_list_is_a_type_error_too(drive):
    """Rule 2: after what came before it was said."""

    class Odd(Node):
        def chat(self, message):
            yield ["fine", 42]

    outcome = drive(lambda: Odd().receive("go"))
    assert outcome.before == ["fine"]
    assert isinstance(outcome.error, TypeError)


@every_driver
def test_a_coroutine_that_was_not_awaited_is_a_mistake(drive):
    """Rule 2: `yield something_async()` shows what to write instead."""

    async def something():
        raise AssertionError

    class Odd(Node):
        def chat(self, message):
            coroutine = something()
            try:
                yield coroutine
            except TypeError as error:
                yield str(error)
            finally:
                coroutine.close()

    (reply,) = drive(lambda: Odd().receive("go")).contents
    assert "await" in reply


@every_driver
@kinds("plain", "generator", "coroutine")
def test_a_returned_wait_is_waited_for_and_its_value_said(handler, drive):
    """Rule 2: `return peer.ask(...)` passes the answer on, as what the peer said."""

    class Asker(Node):
        @handler
        def chat(self, message):
            return Peer(name="Peer").ask("ping")
            yield

    outcome = drive(lambda: Asker(name="Asker").receive("go"))
    assert [(one.content, one.sender.name) for one in outcome.replies] == [("pong", "Peer")]


@every_driver
@kinds("plain", "generator", "coroutine")
def test_a_returned_wait_without_a_value_says_nothing(handler, drive):
    """Rule 2: None is nothing said."""

    class Sleeper(Node):
        @handler
        def chat(self, message):
            return sleep(0)
            yield

    assert drive(lambda: Sleeper().receive("go")).contents == []


@every_driver
@kinds("plain", "generator", "coroutine")
def test_a_returned_all_of_says_all_its_values(handler, drive):
    """Rule 2: a list of messages is said one by one."""

    class Asker(Node):
        @handler
        def chat(self, message):
            return Peer().ask("a") & Peer().ask("b")
            yield

    assert drive(lambda: Asker().receive("go")).contents == ["pong", "pong"]


@every_driver
@kinds("plain", "generator", "coroutine")
def test_the_error_of_a_returned_wait_fails_the_handler(handler, drive):
    """Rule 2 and 5: there is no `yield` to raise it at, so it goes to whoever waits."""

    class Broken(Node):
        def request(self, message):
            raise ZeroDivisionError

    class Asker(Node):
        @handler
        def chat(self, message):
            return Broken().ask("?")
            yield

    assert type(drive(lambda: Asker().receive("go")).error) is ZeroDivisionError


@every_driver
@kinds(*ALL)
def test_the_value_of_saying_something_is_none(handler, drive):
    """Rule 2: a reply waits for nothing, so its `yield` is None."""

    class Sayer(Node):
        @handler
        def chat(self, message):
            values.append((yield "one"))
            values.append((yield Message("two")))
            values.append((yield None))

    values = []
    assert drive(lambda: Sayer().receive("go")).contents == ["one", "two"]
    assert values == [None, None, None]


@every_driver
@kinds(*SPEAKING)
def test_replies_are_lazy(handler, drive):
    """Rule 2 and 14: the handler is resumed only when the caller asks for more."""

    class Counter(Node):
        @handler
        def chat(self, message):
            number = 0
            while True:
                made.append(number)
                yield str(number)
                number += 1

    made = []
    assert drive(lambda: Counter().receive("go"), take=3).contents == ["0", "1", "2"]
    assert made == [0, 1, 2]


@every_driver
def test_a_yield_from_of_a_wait_is_a_yield(drive):
    """Rule 2: parts of a handler may be generators of their own, used by `yield from`."""

    class Asker(Node):
        def ask_twice(self, peer):
            one = yield peer.ask("?")
            two = yield from peer.ask("?")
            yield "asked"
            return one.content + two.content

        def chat(self, message):
            text = yield from self.ask_twice(Peer())
            return text

    assert drive(lambda: Asker().receive("go")).contents == ["asked", "pongpong"]


@every_driver
def test_a_subclass_of_str_is_words(drive):
    """Rule 2: an enumeration or any other `str` is said as its words."""

    class Words(str):
        __slots__ = ()

    class Speaker(Node):
        def chat(self, message):
            yield Words("hello")

    assert drive(lambda: Speaker().receive("go")).contents == ["hello"]


@every_driver
def test_a_value_returned_through_a_finally_block_is_said(drive):
    """Rule 2: what is returned is said last, whatever is cleaned up on the way."""
    log = []

    class Careful(Node):
        def chat(self, message):
            try:
                yield "one"
                return message.content
            finally:
                log.append("clean")

    assert drive(lambda: Careful().receive("two")).contents == ["one", "two"]
    assert log == ["clean"]


def empty_return(self, message):
    """Ends early, or not."""
    yield "one"
    if message.content:
        return
    yield "two"


def conditional(self, message):
    """Returns something, or None."""
    yield "one"
    return message.content if message.content != "none" else None


def in_a_loop(self, message):
    """Returns from within."""
    for word in ("a", "b"):
        with suppress(ValueError):
            yield word
            if word == message.content:
                return word * 2
    return None


def nothing_at_all(self, message):
    """Says it all."""
    yield from ("one", "two")


@pytest.mark.parametrize(
    ("handler", "words", "heard"),
    [
        (empty_return, "x", ["one"]),
        (empty_return, "", ["one", "two"]),
        (conditional, "x", ["one", "x"]),
        (conditional, "none", ["one"]),
        (in_a_loop, "b", ["a", "b", "bb"]),
        (in_a_loop, "c", ["a", "b"]),
        (nothing_at_all, "x", ["one", "two"]),
    ],
)
def test_whatever_way_a_generator_ends(handler, words, heard):
    """Rule 2: what is returned is said last, and nothing is when nothing is returned."""
    speaker = type("Speaker", (Node,), {"chat": handler, "__module__": __name__})()
    assert [said.content for said in speaker.receive(Message(words))] == heard
