"""The codec loses nothing, can be read by people, and runs nothing that data asks it to."""

import dataclasses
import json
import math
import sys
import threading
from collections import Counter, OrderedDict, defaultdict, deque
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import MappingProxyType
from typing import Any, Generic, Literal, NamedTuple, NewType, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo, available_timezones

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr
from pydantic_core import TzInfo

from llambdao import Address, LlambdaoError, Message, Misused, Node, Ref
from llambdao.kernel.errors import DuplicateKind
from llambdao.runtime.codec import Codec, Corrupt, NotStorable, recorded

pytestmark = pytest.mark.timeout(60)


# -- a program ---------------------------------------------------------------------------------


class Colour(Enum):
    RED = "r"
    CRIMSON = "r"  # noqa: PIE796  # an alias
    BLUE = ("b", 1)


class Rank(IntEnum):
    LOW = 1
    HIGH = 2


class Mood(StrEnum):
    GOOD = "good"


class May(Flag):
    READ = 1
    WRITE = 2
    SPEND = 4


class Place(Enum):
    HERE = "here"


class Point(NamedTuple):
    x: float
    y: float = 0.0


@dataclasses.dataclass
class Todo:
    what: str
    when: datetime | None = None
    parts: list["Todo"] = dataclasses.field(default_factory=list)
    number: int = dataclasses.field(default=0, init=False, compare=False)

    def __post_init__(self):
        RUN.append("Todo")


@dataclasses.dataclass(frozen=True, slots=True)
class Price:
    amount: Decimal
    tags: frozenset[str] = frozenset()


T = TypeVar("T")


@dataclasses.dataclass
class Pair(Generic[T]):
    one: T
    other: T


class Score(Struct):
    points: int
    by: dict[str, float] = msgspec.field(default_factory=dict)

    def __post_init__(self):
        RUN.append("Score")
        self.points = abs(self.points)


class Address2(Struct, frozen=True, rename="camel"):
    street_name: str


class Settings(BaseModel):
    model_config = ConfigDict(extra="allow")
    size: int = 3
    names: list[str] = Field(default_factory=list)
    _seen: set[int] = PrivateAttr(default_factory=set)

    def model_post_init(self, context):
        RUN.append("Settings")
        super().model_post_init(context)


class Vote(Message):
    aye: bool
    on: Colour = Colour.RED
    prices: list[Price] = msgspec.field(default_factory=list)


Cents = NewType("Cents", Price)
RUN = []


class Clerk(Node):
    """Its fields are declared to hold all these classes."""

    colour: Colour = Colour.RED
    rank: Rank | None = None
    moods: dict[Mood, May] = Field(default_factory=dict)
    point: tuple[Point, ...] = ()
    todo: Todo | None = None
    cents: Cents | None = None
    pair: Pair[Score] | None = None
    home: Address2 | None = None
    place: Literal[Place.HERE] | None = None
    settings: Settings | None = None
    said: list[Message] = Field(default_factory=list)


CLERK = Codec(None, Clerk)


def back(value, codec=CLERK):
    """What becomes of a value that is written and read."""
    return codec.decode(codec.encode(value))


def same(one, other):
    """Are they of the same types, and equal, all the way down? Not a number is not a number."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return repr(one) == repr(other)
    if isinstance(one, complex):
        return same(one.real, other.real) and same(one.imag, other.imag)
    if isinstance(one, Decimal):
        return repr(one) == repr(other)
    if isinstance(one, datetime | time):
        return (
            one.replace(tzinfo=None) == other.replace(tzinfo=None)
            and one.fold == other.fold
            and repr(one.tzinfo) == repr(other.tzinfo)
        )
    if isinstance(one, dict):
        made = getattr(one, "default_factory", None) is getattr(other, "default_factory", None)
        return made and same([*one.items()], [*other.items()])
    if isinstance(one, list | tuple | deque):
        limit = getattr(one, "maxlen", None) == getattr(other, "maxlen", None)
        return limit and len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, set | frozenset):
        written = [sorted(map(CLERK.encode, each)) for each in (one, other)]
        return written[0] == written[1]
    if dataclasses.is_dataclass(one):
        return all(
            same(getattr(one, f.name), getattr(other, f.name)) for f in dataclasses.fields(one)
        )
    if isinstance(one, Struct) and not isinstance(one, Message):
        return all(same(getattr(one, n), getattr(other, n)) for n in one.__struct_fields__)
    return bool(one == other)


# -- what there is -----------------------------------------------------------------------------

TEXTS = st.text(st.characters(exclude_categories=()), max_size=8)  # half surrogate pairs, too
OFFSETS = st.timedeltas(timedelta(hours=-23), timedelta(hours=23))
ZONES = st.one_of(
    st.none(),
    st.just(UTC),
    st.sampled_from(["Europe/Berlin", "America/Argentina/Ushuaia", "Etc/GMT+5"]).map(ZoneInfo),
    OFFSETS.map(timezone),
    st.sampled_from([1, -1, 10**6, -(10**6)]).map(lambda n: timezone(timedelta(microseconds=n))),
    st.builds(timezone, OFFSETS, st.sampled_from(["CET", "\ud800", "UTC", "é"])),
)
FOLDED = st.sampled_from([0, 1])
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers().map(lambda number: number << 2100),
    st.floats(),
    st.complex_numbers(),
    TEXTS,
    st.binary(max_size=20),
    st.builds(datetime.replace, st.datetimes(timezones=ZONES), fold=FOLDED),
    st.dates(),
    st.builds(time.replace, st.times(), tzinfo=ZONES, fold=FOLDED),
    st.timedeltas(),
    st.decimals(),
    st.uuids(),
    st.sampled_from([Path("a/b"), Path("/"), PurePosixPath("x"), PureWindowsPath("c:/x")]),
    st.sampled_from([*Colour, *Rank, *Mood, *Place, *May, May.READ | May.SPEND, May(0)]),
    st.builds(Address, TEXTS, TEXTS, TEXTS),
    st.builds(Ref, TEXTS),
)
HASHABLES = st.recursive(
    SCALARS.filter(lambda value: not (isinstance(value, Decimal) and value.is_snan())),
    lambda inner: st.one_of(st.tuples(inner, inner), st.frozensets(inner, max_size=3)),
    max_leaves=4,
)


def objects(inner):
    """Values of the classes of the program."""
    return st.one_of(
        st.builds(Todo, TEXTS, inner, st.lists(inner, max_size=2)),
        st.builds(Price, inner),
        st.builds(Pair, inner, inner),
        st.builds(Score, st.integers(), inner),
        st.builds(Address2, TEXTS),
        st.builds(Point, inner, inner),
    )


VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.sets(HASHABLES, max_size=4),
        st.frozensets(HASHABLES, max_size=4),
        st.dictionaries(TEXTS | st.just("$"), inner, max_size=4),
        st.dictionaries(HASHABLES, inner, max_size=4),
        st.dictionaries(HASHABLES, inner, max_size=4).map(OrderedDict),
        st.dictionaries(HASHABLES, inner, max_size=4).map(Counter),
        st.builds(
            defaultdict, st.sampled_from([None, list, int, set]), st.dictionaries(TEXTS, inner)
        ),
        st.builds(deque, st.lists(inner, max_size=4), st.sampled_from([None, 4, 9])),
        objects(inner),
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(VALUES)
def test_what_is_written_comes_back_the_same(value):
    """Of the same types, in the same order, equal in every part."""
    assert same(back(value), value)


@settings(max_examples=75, deadline=None)
@given(VALUES)
def test_the_same_value_gives_the_same_bytes(value):
    """Also after it was written and read: what hashes alike is stored but once."""
    data = CLERK.encode(value)
    assert CLERK.encode(value) == data
    assert CLERK.encode(CLERK.decode(data)) == data


@settings(max_examples=50, deadline=None)
@given(VALUES)
def test_what_is_written_is_json_that_any_tool_reads(value):
    """`sqlite3` and `jq` read it: no NaN, no number that they would round, no half a letter."""

    def refuse(name):
        raise AssertionError(name)

    data = CLERK.encode(value)
    tree = json.loads(data, parse_constant=refuse)
    todo = [tree]
    for one in todo:
        assert not isinstance(one, int) or abs(one) <= 2**53
        todo += one if isinstance(one, list) else one.values() if isinstance(one, dict) else []
    assert json.dumps(tree, ensure_ascii=False, separators=(",", ":")).encode()


@settings(max_examples=50, deadline=None)
@given(st.lists(HASHABLES, max_size=5), st.randoms(use_true_random=False))
def test_sets_are_written_in_an_order_of_their_own(values, chance):
    """However they were filled: their own order is another in each process."""
    shuffled = [*values]
    chance.shuffle(shuffled)
    kinds = {CLERK.encode(value) for value in set(values)}
    if kinds == {CLERK.encode(value) for value in set(shuffled)}:  # True and 1 are equal, say
        assert CLERK.encode(set(values)) == CLERK.encode(set(shuffled))


def test_a_dict_keeps_its_order():
    """A handler may go through it, and must do so alike after a restart."""
    value = {"b": 1, "a": 2}
    assert [*back(value)] == ["b", "a"]
    assert CLERK.encode(value) == b'{"b":1,"a":2}'


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([1, "a", None, True, 1.5], '[1,"a",null,true,1.5]'),
        ((1,), '{"$":"tuple","v":[1]}'),
        ({"$": 1}, '{"$":"dict","v":[["$",1]]}'),
        ({1: {2}}, '{"$":"dict","v":[[1,{"$":"set","v":[2]}]]}'),
        (b"\x00\xff", '{"$":"bytes","v":"AP8="}'),
        (2**53 - 1, "9007199254740991"),
        (2**53, '{"$":"int","v":"9007199254740992"}'),
        (float("inf"), '{"$":"float","v":"inf"}'),
        (Decimal("1.50"), '{"$":"decimal","v":"1.50"}'),
        (UUID(int=1), '{"$":"uuid","v":"00000000-0000-0000-0000-000000000001"}'),
        (
            datetime(2030, 1, 1, tzinfo=UTC),
            '{"$":"datetime","v":"2030-01-01T00:00:00+00:00"}',
        ),
        (
            datetime(2030, 1, 1, tzinfo=ZoneInfo("Europe/Berlin")),
            '{"$":"datetime","v":"2030-01-01T00:00:00","zone":"Europe/Berlin"}',
        ),
        (
            time(1, tzinfo=timezone(timedelta(hours=-1, microseconds=1), "odd")),
            '{"$":"time","v":"01:00:00","offset":[-1,82800,1],"name":"odd"}',
        ),
        (timedelta(days=1, seconds=2), '{"$":"timedelta","v":[1,2,0]}'),
        (Colour.CRIMSON, '{"$":"enum","of":"Colour","v":"RED"}'),
        (Point(1.0, 2.0), '{"$":"object","of":"Point","v":{"x":1.0,"y":2.0}}'),
        (deque([1], 3), '{"$":"deque","v":[1],"maxlen":3}'),
        (Address("n1", "Rumi", "user"), '{"$":"address","v":"n1","name":"Rumi","role":"user"}'),
        (Ref("m1"), '{"$":"ref","v":"m1"}'),
        (
            Message("Hi", id="m1", intent="chat"),
            '{"$":"message","kind":"Message","v":{"content":"Hi","intent":"chat","id":"m1"}}',
        ),
    ],
)
def test_this_is_how_it_is_written(value, text):
    """The form is a promise: journals of today are read by tomorrow's release."""
    assert CLERK.encode(value).decode() == text


def test_an_object_that_stands_there_twice_comes_back_as_two():
    """It is said so: values are kept, not who shares them."""
    one = [1]
    first, second = back([one, one])
    assert first == second == [1]
    assert first is not second


def test_a_fixed_offset_from_pydantic_comes_back_as_a_plain_timezone():
    """The same moment, the same offset, and the same bytes as if it had been one all along."""
    moment = datetime(2030, 1, 1, tzinfo=TzInfo(3600))
    assert back(moment) == moment
    assert back(moment).tzinfo == timezone(timedelta(hours=1))
    assert CLERK.encode(back(moment)) == CLERK.encode(moment)


# -- classes of the program --------------------------------------------------------------------


def test_classes_are_found_through_the_fields_that_hold_them():
    """Through unions, lists, generics, new types, literals, and what these are made of."""
    assert Codec(None, Clerk).decode(Codec(None, Clerk).encode(Rank.HIGH)) is Rank.HIGH
    for value in (Colour.BLUE, Mood.GOOD, May.READ, Place.HERE, Price(Decimal(1)), Score(1)):
        with pytest.raises(NotStorable, match="mark it @recorded"):
            Codec().encode(value)
        with pytest.raises(Corrupt, match="declared or recorded"):
            Codec().decode(CLERK.encode(value))


def test_nothing_of_a_dataclass_or_a_model_runs_as_it_is_read():
    """It was valid when it was written; what its constructor did then is not done again."""
    todo, model = Todo("x"), Settings(size=1)
    RUN.clear()
    assert back(todo) == todo
    assert back(model) == model
    assert RUN == []


def test_a_struct_comes_back_as_it_was_whatever_its_post_init_does():
    """That runs, for a Struct cannot be made without; but what it changes is set right."""
    score = Score(1)
    score.points = -3
    assert back(score).points == -3


def test_all_of_a_model_comes_back():
    """Which fields were given, extra ones and private ones included."""
    model = Settings(names=["a"], colour="red")
    model._seen.add(3)
    again = back(model)
    assert again == model
    assert (again._seen, again.model_extra) == ({3}, {"colour": "red"})
    assert again.model_fields_set == {"names", "colour"}
    assert back(Settings()).model_fields_set == set()
    assert back(Settings(size=3, names=[])).model_fields_set == {"size", "names"}


def test_a_field_that_is_not_for_the_constructor_comes_back():
    """And so does one that does not count when values are compared."""
    todo = Todo("x")
    todo.number = 7
    assert back(todo).number == 7


def test_a_field_that_has_come_since_gets_its_default():
    """Data of an older release is read by a newer one; a field without default is missed."""
    assert CLERK.decode(b'{"$":"object","of":"Todo","v":{"what":"x"}}') == Todo("x")
    assert CLERK.decode(b'{"$":"object","of":"Point","v":{"x":1.0}}') == Point(1.0)
    assert CLERK.decode(b'{"$":"object","of":"Score","v":{"points":1}}') == Score(1)
    assert CLERK.decode(b'{"$":"object","of":"Settings","v":{}}') == Settings()
    for name in ("Todo", "Point", "Score"):
        with pytest.raises(Corrupt):
            CLERK.decode(f'{{"$":"object","of":"{name}","v":{{}}}}'.encode())


def test_what_can_be_made_again_is_not_written():
    """A cached property is no state."""

    @recorded
    @dataclasses.dataclass
    class Circle:
        radius: float

        @cached_property
        def area(self):
            return math.pi * self.radius**2

    circle = Circle(1.0)
    assert circle.area > 3
    assert Codec().encode(circle) == b'{"$":"object","of":"Circle","v":{"radius":1.0}}'


def test_a_recorded_class_is_known_everywhere():
    """By its name, or by the kind it was given; the class itself is not changed."""

    @recorded(kind="acme.Money")
    @dataclasses.dataclass
    class Money:
        cents: int

    assert Codec().encode(Money(3)) == b'{"$":"object","of":"acme.Money","v":{"cents":3}}'
    assert back(Money(3), Codec()) == Money(3)
    assert Money.__name__ == "Money"


def test_errors_can_be_recorded():
    """For a journal, which gives them back to whoever asked; the codec does not write them."""

    @recorded
    class Refused(Exception):
        pass

    with pytest.raises(NotStorable):
        Codec().encode(Refused())


@pytest.mark.parametrize("cls", [object, dict, Node, Message, 42, lambda: None])
def test_only_what_has_declared_fields_can_be_recorded(cls):
    """Anything else is `Misused`, which says where the mark belongs."""
    with pytest.raises(Misused, match="above @dataclass"):
        recorded(cls)


def test_two_recorded_classes_of_one_kind_are_an_error():
    """As with messages: unless the second replaces the first, in the same module."""

    def make(module):
        return dataclasses.make_dataclass("Twin", [("x", int)], namespace={"__module__": module})

    first = recorded(make("here"))
    with pytest.raises(DuplicateKind, match=r"there\.Twin and here\.Twin"):
        recorded(make("there"))
    second = recorded(make("here"))
    assert type(back(second(1), Codec())) is second
    with pytest.raises(NotStorable, match="another class is called 'Twin'"):
        Codec().encode(first(1))


def test_two_declared_classes_of_one_name_are_told_apart_by_a_mark():
    """Neither is written before one has another name."""
    one, other = (dataclasses.make_dataclass("Same", [("x", int)]) for _ in range(2))
    codec = Codec(None, type("Holder", (Node,), {"__annotations__": {"a": one, "b": other}}))
    with pytest.raises(NotStorable, match="another class is called 'Same'"):
        codec.encode(one(1))
    recorded(kind="acme.Same")(other)
    assert back(other(1), codec) == other(1)


# -- messages and nodes ------------------------------------------------------------------------


class Speaker(Node):
    peer: Any = None

    def chat(self, message):
        yield Vote("aye!", aye=True, prices=[Price(Decimal("1.5"), frozenset({"x", "y"}))])

    def request(self, message):
        yield Message("yes", metadata={"by": self, "about": message, 3: (1,)})


def fields(message):
    """All that can be known of a message."""
    names = ("kind", "content", "intent", "sender", "to", "reply_to", "timestamp", "id", "action")
    own = message.__struct_fields__[len(Message.__struct_fields__) :]
    return {name: getattr(message, name) for name in (*names, "said_at", "number", *own)}


def codec_of(*nodes):
    """A codec that knows these nodes."""
    return Codec({node.id: node for node in nodes}.get, Clerk)


def test_a_message_that_was_said_comes_back_whole():
    """Its own fields, time, id and number, who said it to whom; what it answered as a `Ref`."""
    ann, bob = Speaker(name="Ann"), Speaker(name="Bob")
    (said,) = ann.receive(Message("?", sender=bob))
    again = back(said, codec_of(ann, bob))
    assert type(again) is Vote
    assert again == said
    assert fields(again) == fields(said)
    assert (again.sender, again.to) == (ann, bob)
    assert again.sender is ann
    assert type(again.reply_to) is Ref
    assert again.dict() == said.dict()
    assert again.ink is not None  # it has been said: said again it is passed on, as it is


def test_a_message_that_came_back_is_passed_on_as_it_is():
    """What another node said is not signed anew, so nobody's words become another's."""

    class Parrot(Node):
        memory: list[Message] = Field(default_factory=list)

        def chat(self, message):
            yield self.memory[0]

    bob = Speaker(name="Bob")
    (said,) = bob.receive("?")
    again = back(said, codec_of(bob))
    (passed,) = Parrot(memory=[again]).receive("!")
    assert passed is again
    assert (passed.sender, passed.id) == (bob, said.id)


def test_the_metadata_of_a_message_comes_back():
    """Whatever stands in it: nodes, other messages, tuples; read-only if it was said."""
    ann = Speaker(name="Ann")
    (said,) = ann.receive(Message("go", intent="request"))
    again = back(said, codec_of(ann))
    assert type(again.metadata) is MappingProxyType
    assert dict(again.metadata) == {"by": ann, "about": said.reply_to, 3: (1,)}
    assert fields(again.metadata["about"]) == fields(said.reply_to)


def test_a_message_that_was_never_said_stays_unsaid():
    """Blanks stay blank, to be filled when it is said."""
    draft = Message("draft", to=Address("n1"), metadata={"a": 1}, timestamp=datetime.now(UTC))
    again = back(draft)
    assert fields(again) == fields(draft)
    assert (again.ink, again.id, again.sender) == (None, None, None)
    assert again.metadata == {"a": 1}
    assert back(Message()).metadata is Message().metadata


def test_a_message_about_a_message_that_has_no_id_is_not_storable():
    """Nothing could be found by it."""
    with pytest.raises(NotStorable, match=r"^x\[0\]\.reply_to was never said"):
        CLERK.encode([Message("b", reply_to=Message("a"))], "x")


def test_a_node_is_written_by_its_address():
    """And is itself again where it is known; elsewhere it is the address of itself."""
    ann = Speaker(name="Ann", peer=SecretStr("s3cret"))
    data = Codec().encode({"who": ann})
    assert b"s3cret" not in data
    assert codec_of(ann).decode(data)["who"] is ann
    stranger = Codec().decode(data)["who"]
    assert type(stranger) is Address
    assert (stranger.id, stranger.name, stranger.role) == (ann.id, "Ann", "system")
    assert stranger == ann


def test_whoever_writes_hears_which_nodes_were_met():
    """So that they are kept alive, or written too."""
    ann, bob, eve = (Speaker(name=name) for name in ("Ann", "Bob", "Eve"))
    met = {}
    Codec().encode([ann, {"x": (bob, ann)}, Message("x", sender=eve)], met=met)
    assert met == {ann.id: ann, bob.id: bob, eve.id: eve}


def test_no_code_of_a_node_runs_as_it_is_written():
    """Nor is one that sleeps woken to tell its name."""

    class Proud(Node):
        def __str__(self):
            raise AssertionError

    assert b'"name":"Proud"' in Codec().encode(Proud())


# -- what cannot be written --------------------------------------------------------------------


class Zone(tzinfo):
    def utcoffset(self, moment):
        return timedelta(0)


class Loud(str):
    __slots__ = ()


@dataclasses.dataclass
class Unknown:
    x: int = 0


@recorded
@dataclasses.dataclass
class Listing(list):
    x: int = 0


class Hidden(BaseModel):
    key: str = Field("s3cret", exclude=True)


def nested(depth):
    """A list in a list in a list ..."""
    value = []
    for _ in range(depth):
        value = [value]
    return value


def looped():
    """A dict that is in itself, some way down."""
    value = {"parts": []}
    value["parts"].append({"whole": value})
    return {"tree": value}


def grown(value, **attributes):
    """With attributes that its class does not declare."""
    for name, one in attributes.items():
        setattr(value, name, one)
    return value


STUCK = {
    "a lock": (
        [0, {"k": threading.Lock()}],
        r"Clerk\.x\[1\]\['k'\] is a _thread\.lock, for which there is no JSON; keep it in a field",
    ),
    "a function": (len, r"Clerk\.x is <built-in function len>, code and no data; keep it"),
    "a class": ({"c": Todo}, r"Clerk\.x\['c'\] is <class .*Todo'>, code and no data"),
    "a generator": ((i for i in ()), r"Clerk\.x is a builtins\.generator, for which"),
    "a secret": ([SecretStr("s3cret")], r"Clerk\.x\[0\] is a secret, and secrets are never"),
    "an unknown class": (
        (1, Unknown()),
        r"Clerk\.x\[1\] is a Unknown, which no field is declared to hold; .* mark it @recorded",
    ),
    "more than a str": ([Loud("x")], r"Clerk\.x\[0\] is a Loud, no mere str; make a str or a data"),
    "an odd zone": (time(1, tzinfo=Zone()), r"Clerk\.x has the time zone .*; use zoneinfo"),
    "odd defaults": (defaultdict(lambda: 0), r"Clerk\.x makes its defaults by .*its setdefault"),
    "in a set of tuples": ({(1, print)}, r"Clerk\.x\[0\]\[1\] is <built-in function print>"),
    "as a key": ({len: 1}, r"Clerk\.x\[<built-in function len>\] is <built-in"),
    "in a dataclass": (Todo("x", parts=[iter("")]), r"Clerk\.x\.parts\[0\] is a builtins\.str"),
    "in a model": (Settings(colour=iter("")), r"Clerk\.x\.colour is a builtins\.str_"),
    "in a message": (
        Message("x", metadata={"a": [iter("")]}),
        r"Clerk\.x\.metadata\['a'\]\[0\] is a builtins\.str",
    ),
    "in a vote": (Vote(aye=iter("")), r"Clerk\.x\.aye is a builtins\.str_"),
    "undeclared": (
        grown(Todo("x"), y=1),
        r"Clerk\.x\.y is an attribute that Todo does not declare",
    ),
    "more than a dataclass": (Listing(), r"Clerk\.x is a list too, which its fields do not tell"),
    "an address without words": (Address(3), r"Clerk\.x is known by \(3, '', ''\)"),
    "circles": (
        looped(),
        r"^Clerk\.x\['tree'\] contains itself, as Clerk\.x(\['\w+'\](\[0\])?){3}; keep an id",
    ),
    "depth": (
        nested(100),
        r"^Clerk\.x\[0\]\[0\]\[0\] goes on more than 100 levels deep; keep it flat, by id$",
    ),
    "great depth": (nested(100_000), r"more than 100 levels deep"),
}


@pytest.mark.parametrize(("value", "text"), STUCK.values(), ids=STUCK)
def test_what_cannot_be_written_is_named_with_the_way_to_it(value, text):
    """`NotStorable` says where it stands, what it is, and what to do; it is a `TypeError`."""
    with pytest.raises(NotStorable, match=text) as caught:
        CLERK.encode(value, "Clerk.x")
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, LlambdaoError)
    assert "s3cret" not in str(caught.value)


def test_what_a_model_excludes_is_never_written():
    """Nor is it dropped in silence."""
    with pytest.raises(NotStorable, match=r"^h\.key is excluded"):
        Codec(None, type("Holder", (Node,), {"__annotations__": {"h": Hidden}})).encode(
            Hidden(), "h"
        )


def test_a_field_without_a_value_is_named():
    """Somebody deleted it."""
    todo = Todo("x")
    del todo.what
    with pytest.raises(NotStorable, match=r"^t\.what has no value"):
        CLERK.encode(todo, "t")


def test_a_message_of_a_class_that_was_defined_again_is_not_storable():
    """It would come back as one of the new class."""

    def make(kind):
        class Note(Message, kind=kind):
            pass

        return Note

    old, new = make("test.Note"), make("test.Note")
    assert back(new("x", id="m1")).id == "m1"
    with pytest.raises(NotStorable, match=r"kind, 'test\.Note', is now that of another"):
        CLERK.encode(old("x"))


def test_a_hundred_levels_can_be_written_and_read():
    """Near the end of the stack, too, there is an answer, and it is no `RecursionError`."""
    value = nested(99)
    assert back(value) == value
    deep = {"a": [({"b": None},)] * 2}
    for _ in range(16):
        deep = {1: (deep, [Todo("x", parts=[deep])])} if _ == 8 else {1: (deep,)}
    assert same(back(deep), deep)

    def burrow(left):
        return burrow(left - 1) if left else CLERK.encode(value, "x")

    frame, frames = sys._getframe(), 0
    while frame is not None:
        frame, frames = frame.f_back, frames + 1
    with pytest.raises(NotStorable, match="x is nested too deeply for what is left of the stack"):
        burrow(sys.getrecursionlimit() - frames - 100)


# -- what cannot be read -----------------------------------------------------------------------

TAGS = [
    "str", "int", "float", "complex", "bytes", "date", "decimal", "uuid", "path",
    "pure_posix_path", "pure_windows_path", "timedelta", "datetime", "time", "tuple", "set",
    "frozenset", "deque", "dict", "OrderedDict", "Counter", "defaultdict", "enum", "object",
    "node", "address", "ref", "message", "list", "__import__", "eval",
]  # fmt: skip
WRONG = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**70) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.text(max_size=5), inner, max_size=3),
        st.fixed_dictionaries(
            {"$": st.sampled_from(TAGS), "v": inner | st.text(max_size=10)},
            optional={
                "of": inner | st.sampled_from(["Todo", "Colour", "May", "Settings", "Score"]),
                "kind": st.sampled_from(["Message", "Vote", "os.system"]),
                "zone": inner | st.sampled_from(["../x", "/etc/passwd", "Europe", "Europe/Berlin"]),
                "name": inner, "role": inner, "fold": inner, "maxlen": inner, "said": inner,
                "set": inner, "extra": inner, "private": inner, "self": inner, "left": inner,
            },
        ),
    ),
    max_leaves=10,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(WRONG)
def test_whatever_is_read_is_a_value_or_corrupt(tree):
    """Data that somebody made up never raises anything but `Corrupt`, a `ValueError`."""
    with suppress(Corrupt):
        CLERK.decode(json.dumps(tree).encode())
    assert issubclass(Corrupt, ValueError)


@settings(max_examples=100, deadline=None)
@given(VALUES, st.data())
def test_what_was_cut_off_is_corrupt(value, data):
    """Half a snapshot is no snapshot; only a number may be read from the beginning of another."""
    written = CLERK.encode(value)
    cut = written[: data.draw(st.integers(0, len(written) - 1))]
    with suppress(Corrupt):
        assert type(CLERK.decode(cut)) in {int, float}


@settings(max_examples=100, deadline=None)
@given(VALUES, st.data())
def test_what_was_changed_is_a_value_or_corrupt(value, data):
    """One byte more, less or other."""
    written = bytearray(CLERK.encode(value))
    place = data.draw(st.integers(0, len(written) - 1))
    written[place : place + data.draw(st.integers(0, 1))] = data.draw(st.binary(max_size=2))
    with suppress(Corrupt):
        CLERK.decode(bytes(written))


CORRUPT = {
    "nothing": b"",
    "no JSON": b"hello",
    "no UTF-8": b'"\xff"',
    "an unknown tag": b'{"$":"os.system","v":"ls"}',
    "a tag that is no name": b'{"$":["tuple"],"v":[]}',
    "a tag alone": b'{"$":"tuple"}',
    "more than it takes": b'{"$":"tuple","v":[],"w":1}',
    "a str for a list": b'{"$":"tuple","v":"abc"}',
    "a pair of three": b'{"$":"dict","v":[[1,2,3]]}',
    "a list as a key": b'{"$":"dict","v":[[[],1]]}',
    "a key twice": b'{"$":"dict","v":[[1,2],[1,3]]}',
    "one twice in a set": b'{"$":"set","v":[1,1]}',
    "a dict in a set": b'{"$":"set","v":[{}]}',
    "too much for a deque": b'{"$":"deque","v":[1,2],"maxlen":1}',
    "an unknown maker": b'{"$":"defaultdict","v":[],"of":"eval"}',
    "an unknown class": b'{"$":"object","of":"subprocess.Popen","v":{"args":"ls"}}',
    "an Enum as an object": b'{"$":"object","of":"Colour","v":{}}',
    "an object as an Enum": b'{"$":"enum","of":"Todo","v":"__init__"}',
    "no member": b'{"$":"enum","of":"Colour","v":"__class__"}',
    "no flag": b'{"$":"enum","of":"May","v":8}',
    "an unknown field": b'{"$":"object","of":"Todo","v":{"what":"x","__class__":"y"}}',
    "an unknown part": b'{"$":"object","of":"Todo","v":{"what":"x"},"private":{}}',
    "an unknown private": b'{"$":"object","of":"Settings","v":{},"private":{"_x":1}}',
    "an unknown kind": b'{"$":"message","kind":"Nobody","v":{}}',
    "an unknown word": b'{"$":"message","kind":"Message","v":{"ink":1}}',
    "half a vote": b'{"$":"message","kind":"Vote","v":{}}',
    "metadata that is none": b'{"$":"message","kind":"Message","v":{"metadata":[]}}',
    "said at no time": b'{"$":"message","kind":"Message","v":{},"said":["now",1]}',
    "a zone elsewhere": b'{"$":"datetime","v":"2030-01-01T00:00:00","zone":"../../etc/passwd"}',
    "a zone that is a folder": b'{"$":"datetime","v":"2030-01-01T00:00:00","zone":"Europe"}',
    "two zones": b'{"$":"datetime","v":"2030-01-01T00:00:00Z","zone":"Europe/Berlin"}',
    "no date": b'{"$":"date","v":"2030-02-31"}',
    "no number": b'{"$":"decimal","v":"one"}',
    "no base64": b'{"$":"bytes","v":"?"}',
    "too long a time": b'{"$":"timedelta","v":[9999999999,0,0]}',
    "depth": b"[" * 101 + b"]" * 101,
    "great depth": b"[" * 1_000_000,
    "a great depth of tags": b'{"$":"tuple","v":[' * 100_000,
}


@pytest.mark.parametrize("data", CORRUPT.values(), ids=CORRUPT)
def test_what_nobody_wrote_is_corrupt(data):
    """With a reason; nothing is imported by what stands there."""
    available_timezones()  # which imports what it needs, always the same
    modules = {*sys.modules}
    with pytest.raises(Corrupt) as caught:
        CLERK.decode(data)
    assert len(str(caught.value)) < 400
    assert {*sys.modules} == modules


def test_what_is_wrong_is_said():
    """A person who looks into a journal learns what to look for."""
    with pytest.raises(Corrupt, match="no class called 'Popen' is declared or recorded here"):
        CLERK.decode(b'{"$":"object","of":"Popen","v":{}}')
    with pytest.raises(Corrupt, match=r"nothing is written as 'os\.system'"):
        CLERK.decode(b'{"$":"os.system","v":"ls"}')
    with pytest.raises(Corrupt, match="this is nested too deeply to be a stored value"):
        CLERK.decode(b"[" * 1_000_000)
    assert date.fromisoformat(str(back(date(2030, 1, 1)))) == date(2030, 1, 1)
