"""Conditions to stop: folds over what was said, which keep no count of their own."""

import pytest

from llambdao import GroupChatNode, Message, Misused, Node, Until, heard, spent, turns, when


def stops(until, *contents):
    """After how many of these utterances it stops; None if it does not."""
    known = until.begin()
    for number, said in enumerate(contents, 1):
        known = until.fold(known, said if isinstance(said, Message) else Message(said))
        if until.met(known):
            return number
    return None


def test_turns():
    """Exactly so many."""
    assert stops(turns(3), "a", "b", "c", "d") == 3
    assert stops(turns(3), "a", "b") is None
    assert stops(turns(1), "a") == 1


def test_heard():
    """The words anywhere in what was said, in capitals or not."""
    assert stops(heard("Done"), "not yet", "we are DONE here", "x") == 2
    assert stops(heard("done"), "not yet") is None
    assert stops(heard("straße"), "STRASSE") == 1


def test_spent():
    """The sum of `usd` or `tokens` in the metadata of what was said."""
    dollars = [Message("x", metadata={"usd": 0.4, "tokens": 10}) for _ in range(5)]
    assert stops(spent(usd=1), *dollars) == 3
    assert stops(spent(tokens=20), *dollars) == 2
    assert stops(spent(usd=1, tokens=1000), *dollars) == 3
    assert stops(spent(usd=1), "free", "free", "free") is None


def test_when():
    """A function asked about each message by itself."""
    assert stops(when(lambda said: len(said.content) > 3), "a", "long", "b") == 2


def test_or_stops_at_the_first():
    """`turns(8) | heard("done")`."""
    assert stops(turns(3) | heard("done"), "a", "done", "b") == 2
    assert stops(turns(2) | heard("done"), "a", "b", "done") == 2
    assert stops(turns(9) | heard("x") | heard("b"), "a", "b") == 2


def test_and_stops_when_both_are_met():
    """Each may have been met earlier."""
    assert stops(turns(3) & heard("a"), "a", "b", "c", "d") == 3
    assert stops(turns(1) & heard("c"), "a", "b", "c", "d") == 3
    assert stops((turns(2) | heard("x")) & heard("c"), "a", "b", "c") == 3


def test_a_condition_keeps_no_count():
    """The same one serves many conversations, also at the same time."""
    until = turns(2) | heard("done")
    one, two = until.begin(), until.begin()
    one = until.fold(one, Message("a"))
    two = until.fold(two, Message("done"))
    assert (until.met(one), until.met(two)) == (False, True)
    assert until == turns(2) | heard("done")


def test_what_is_known_is_plain_data():
    """So it survives a restart: it is made of numbers, booleans and tuples."""

    def plain(value):
        if isinstance(value, tuple):
            return all(map(plain, value))
        return isinstance(value, bool | int | float | str)

    until = (turns(2) | heard("x")) & spent(usd=1)
    assert plain(until.begin())
    assert plain(until.fold(until.begin(), Message("x")))


def test_a_condition_of_ones_own():
    """A subclass with `begin`, `fold` and `met`; it combines like the others."""

    class distinct(Until, frozen=True):  # noqa: N801  # conditions read like words
        most: int

        def begin(self):
            return ()

        def fold(self, known, said):
            return (*known, said.content) if said.content not in known else known

        def met(self, known):
            return len(known) >= self.most

    assert stops(distinct(2), "a", "a", "b") == 3
    assert stops(distinct(5) | turns(2), "a", "a", "b") == 2

    class Parrot(Node):
        def chat(self, message):
            return message.content

    table = GroupChatNode(Parrot(), Parrot(), until=distinct(2) | turns(6))
    assert len(list(table.receive("x"))) == 6


@pytest.mark.parametrize("make", [lambda: turns(0), lambda: turns(-3), spent])
def test_conditions_that_make_no_sense_are_refused(make):
    """When they are written."""
    with pytest.raises(Misused):
        make()
