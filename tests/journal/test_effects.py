"""Effects outside: done once, or as their policy says when nobody knows."""

import asyncio

import pytest

from deaths import Town
from llambdao import Node, all_of, call
from llambdao.journal import effect_key, in_doubt


class Buyer(Node):
    """Pays, by whatever policy, and then packs."""

    policy: str = "retry"
    paid: int = 0

    def request(self, message):
        life = self.life

        @in_doubt(self.policy)
        def pay(what):
            return life.did(what)

        try:
            said = yield call(pay, message.content)
        except Exception as error:  # noqa: BLE001  # any
            said = f"{type(error).__name__}"
        self.paid += 1
        packed = yield call(life.did, "pack")
        return f"{said}, {packed}"


def killed_in_the_effect(policy, answer=None):
    """The process dies after it has paid, before that is recorded; then it lives again."""
    town = Town()
    town.told(Buyer(name="buyer", policy=policy), at=3)
    assert [what for what, _ in town.outside.done] == ["go"]
    said = town.told(Buyer(name="buyer", policy=policy), answer=answer)
    return said, town.outside.done


def test_unless_something_else_is_said_it_is_done_again_with_the_same_key():
    """`retry`: once more, and only once; the service outside can tell by the key."""
    said, done = killed_in_the_effect("retry")
    assert said == (["go done, pack done"], "done")
    assert done == [("go", "m/buyer/1"), ("go", "m/buyer/1"), ("pack", "m/buyer/2")]


def test_it_can_be_raised_instead():
    """`raise`: who called decides; nothing is done twice."""
    said, done = killed_in_the_effect("raise")
    assert said == (["InDoubt, pack done"], "done")
    assert done == [("go", "m/buyer/1"), ("pack", "m/buyer/2")]


def test_a_person_can_say_what_came_of_it():
    """`ask`: an open question; what is answered is taken as the result."""
    asked = []

    def answer(question):
        asked.append((question.who, question.content))
        return "receipt 7"

    said, done = killed_in_the_effect("ask", answer)
    assert said == (["receipt 7, pack done"], "done")
    assert done == [("go", "m/buyer/1"), ("pack", "m/buyer/2")]
    ((who, content),) = asked
    assert str(who) == "operator"
    assert "pay" in content
    assert "again" in content


def test_a_person_can_have_it_done_again():
    """`ask`, answered with "again"."""
    said, done = killed_in_the_effect("ask", lambda question: "again")
    assert said == (["go done, pack done"], "done")
    assert done == [("go", "m/buyer/1"), ("go", "m/buyer/1"), ("pack", "m/buyer/2")]


def test_until_he_answers_it_stays_open_whatever_dies():
    """The question is there again after each restart, under one id, and is answered once."""
    town, ids = Town(), []
    town.told(Buyer(name="buyer", policy="ask"), at=3)
    for _ in range(3):
        said = town.told(
            Buyer(name="buyer", policy="ask"), answer=lambda question: ids.append(question.id)
        )
        assert said == ([], "waits")
    assert len(ids) >= 3
    assert len({*ids}) == 1
    for at in (1, 2, 3, 4, 5):  # killed while he answers
        town.told(Buyer(name="buyer", policy="ask"), answer=lambda q: "done by hand", at=at)
    said = town.told(Buyer(name="buyer", policy="ask"), answer=lambda q: "done by hand")
    assert said == (["done by hand, pack done"], "done")
    assert [what for what, _ in town.outside.done if what == "go"] == ["go"]


def test_what_failed_outside_is_not_done_again():
    """An error is a result like any other: recorded, and raised again at replay."""

    class Unlucky(Node):
        def request(self, message):
            try:
                yield call(self.fail)
            except ValueError as error:
                yield f"caught {error}"
            yield (yield call(self.life.did, "then"))

        def fail(self):
            self.life.did("fail")
            raise ValueError("no luck")

    town = Town()
    for at in (1, 2, 3, 4, 5):
        town.told(Unlucky(name="unlucky"), at=at, when="after")
    assert town.told(Unlucky(name="unlucky"))[0] == ["caught no luck", "then done"]
    assert [what for what, _ in town.outside.done].count("fail") <= 2


def test_a_result_that_cannot_be_stored_is_an_error_and_counts_as_done():
    """`NotStorable`, which names the call; it is not done again after a restart."""

    class Odd(Node):
        def request(self, message):
            try:
                yield call(self.make)
            except Exception as error:  # noqa: BLE001  # any
                yield f"{type(error).__name__}: {error}"
            yield (yield call(self.life.did, "then"))

        def make(self):
            self.life.did("make")
            return object()

    town = Town()
    town.told(Odd(name="odd"), at=4)
    said, _ = town.told(Odd(name="odd"))
    assert said[0].startswith("NotStorable: ")
    assert "Odd.make is a builtins.object" in said[0]
    assert [what for what, _ in town.outside.done].count("make") == 1


def test_the_key_is_for_effects_alone():
    """Elsewhere there is none."""
    with pytest.raises(TypeError, match="for functions that `call` calls"):
        effect_key()
    with pytest.raises(TypeError, match="retry, raise, ask, not 'maybe'"):
        in_doubt("maybe")


class Leafy(Node):
    """Awaits what no journal knows."""

    done: int = 0

    def chat(self, message):
        self.done += 1
        yield f"{self.done} so far"


def test_effects_at_once_are_in_doubt_each_for_itself():
    """Those whose end is recorded are not done again."""

    class Both(Node):
        def request(self, message):
            one, other = yield all_of(call(self.life.did, "one"), call(self.slowly, "other"))
            return f"{one}, {other}"

        async def slowly(self, what):
            await asyncio.sleep(5)
            return self.life.did(what)

    town = Town()
    town.told(Both(name="both"), at=4)
    assert len(town.store.effects) == 1
    assert [what for what, _ in town.outside.done] == ["one", "other"]
    assert town.told(Both(name="both")) == (["one done, other done"], "done")
    assert [what for what, _ in town.outside.done] == ["one", "other", "other"]


def test_what_nobody_waits_for_any_longer_is_not_done_again():
    """A call that lost against another wait is dropped, and not in doubt."""
    from llambdao import any_of, sleep

    class Hasty(Node):
        def request(self, message):
            place, _ = yield any_of(call(self.slowly), sleep(1), which=True)
            yield f"{place} came first"
            yield sleep(100)
            yield "later"

        async def slowly(self):
            self.life.did("begin")
            await asyncio.sleep(50)
            self.life.did("end")

    town = Town()
    town.told(Hasty(name="hasty"), at=5)
    assert town.told(Hasty(name="hasty")) == (["1 came first", "later"], "done")
    assert [what for what, _ in town.outside.done] == ["begin"]
