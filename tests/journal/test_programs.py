"""Small programs made at random, with kills: they come to what they come to without."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from deaths import Town, outcome
from llambdao import HumanNode, Message, Node, all_of, any_of, call, sleep
from llambdao.journal.memory import MemoryLedger

DEEPEST = 2

LEAVES = st.one_of(
    st.tuples(st.just("say"), st.sampled_from("xyz")),
    st.tuples(st.just("sleep"), st.integers(0, 100)),
    st.tuples(st.just("call"), st.sampled_from("pq")),
    st.tuples(st.just("person"), st.sampled_from(["Ann", "Bob"])),
    st.tuples(st.just("change"), st.sampled_from("abc")),
    st.tuples(st.just("now"), st.none()),
    st.tuples(st.just("fail"), st.none()),
)

SCRIPTS = st.recursive(
    st.lists(LEAVES, min_size=1, max_size=4),
    lambda inner: st.lists(
        st.one_of(
            LEAVES,
            st.tuples(st.sampled_from(["ask", "tell", "try"]), inner),
            st.tuples(st.sampled_from(["all", "any"]), st.tuples(inner, inner)),
        ),
        min_size=1,
        max_size=4,
    ),
    max_leaves=8,
)


class Actor(Node):
    """Does what the message says, as data."""

    peers: list[Node] = []
    people: list[Node] = []
    log: list[str] = []

    def request(self, message):
        yield from self.act(list(message.metadata["script"]), len(message.content))
        yield f"{self.name} has {len(self.log)}"

    inform = request

    def act(self, script, depth):  # noqa: C901, PLR0912  # one word after the other
        for word, what in script:
            if word == "say":
                yield what
            elif word == "sleep":
                yield sleep(what)
            elif word == "call":
                said = yield call(self.life.did, what)
                self.log.append(said)
            elif word == "person":
                answer = yield self.person(what).ask(f"{self.name}{len(self.log)}?")
                self.log.append(answer.content)
            elif word == "change":
                self.log.append(what)
            elif word == "now":
                yield f"{self.now():%H:%M:%S}"
            elif word == "fail":
                raise ValueError(f"{self.name} fails")
            elif word == "tell":
                yield self.peer().tell(worded(what, depth))
            elif word == "try":
                try:
                    yield (yield self.peer().ask(worded(what, depth)))
                except ValueError as error:
                    yield f"caught {error}"
            elif word == "ask":
                answer = yield self.peer().ask(worded(what, depth))
                self.log.append(answer.content)
            else:
                combine = all_of if word == "all" else any_of
                asks = [
                    peer.ask(worded(one, depth)) for peer, one in zip(self.peers, what, strict=True)
                ]
                try:
                    said = yield combine(*asks)
                    yield str([one.content for one in (said if word == "all" else [said])])
                except (ValueError, ExceptionGroup) as error:
                    yield f"caught {type(error).__name__}"

    def peer(self):
        return self.peers[0]

    def person(self, name):
        return next(person for person in self.people if person.name == name)


def worded(script, depth=0):
    """A message that says what to do."""
    return Message("." * (depth + 1), metadata={"script": script})


def cast(life):
    """Three actors, each of whom knows the others, and two people."""
    people = [HumanNode(name="Ann"), HumanNode(name="Bob")]
    actors = [Actor(name=name, people=people) for name in "ABC"]
    for place, actor in enumerate(actors):
        actor.peers = [actors[(place + 1) % 3], actors[(place + 2) % 3]]
        actor.life = life
    return actors


def program(told):
    """These are told this."""

    async def main(life):
        actors = cast(life)
        async with life.runtime(*actors) as runtime:
            for number, (place, script) in enumerate(told):
                message = worded(script).but(intent="request", id=f"m{number}")
                await runtime.tell(actors[place], message)
            await life.settle(runtime, lambda question: f"yes {question.content}")
            said = [await outcome(runtime, f"m{number}") for number in range(len(told))]
            return said, [actor.log for actor in actors], sorted(set(life.effects))

    return main


class Killing(RuleBasedStateMachine):
    """A program that grows, and is killed at any commit as often as one likes."""

    @initialize(script=SCRIPTS)
    def begin(self, script):
        self.told = [(0, script)]
        self.town = Town()
        self.deaths = 0

    @rule(place=st.integers(0, 2), script=SCRIPTS)
    @precondition(lambda self: len(self.told) < 3 and not self.deaths)
    def tell(self, place, script):
        self.told.append((place, script))

    @rule(at=st.integers(1, 25), when=st.sampled_from(["before", "after"]))
    @precondition(lambda self: self.deaths < 3)
    def kill(self, at, when):
        self.deaths += 1
        self.town.live(program(self.told), at, when)

    @rule()
    def look(self):
        """What is written is whole."""
        assert MemoryLedger(self.town.store).verify() is None
        open_ones = {key for key, found in self.town.store.found.items() if found.ending is None}
        assert {*self.town.store.steps} <= open_ones
        assert {question.key for question in self.town.store.questions.values()} <= open_ones
        assert {key for key, _ in self.town.store.effects} <= open_ones

    def teardown(self):
        if not hasattr(self, "town"):
            return
        whole = Town().live(program(self.told))
        lived = self.town.live(program(self.told))
        assert lived == whole
        for one in self.town.outside.done:
            assert self.town.outside.done.count(one) <= self.deaths + 1


Killing.TestCase.settings = settings(
    max_examples=100,
    stateful_step_count=6,
    deadline=None,
    derandomize=True,
    suppress_health_check=[*HealthCheck],
)
TestPrograms = Killing.TestCase
