"""`Node`: fields, attributes, edges, names, copies."""

from typing import ClassVar

import pytest
from pydantic import Field, ValidationError

from llambdao import Address, Edge, Message, Node, NotANode


class Counter(Node):
    """As the founding document writes its nodes."""

    role: ClassVar[str] = "assistant"
    count: int = 0
    heard: list[str] = Field(default_factory=list)
    names: list[str] = []  # pydantic copies it for each node

    def chat(self, message):
        self.count = self.count + 1
        return str(self.count)


class Spoken(Node):
    """A role without an annotation, as in the founding document."""

    role = "user"


def test_fields_are_validated_when_given():
    """With an error that names the field."""
    assert Counter(count="3").count == 3
    with pytest.raises(ValidationError, match="count"):
        Counter(count="three")


def test_a_typo_in_a_field_is_an_error():
    """What is not declared is not accepted, nor dropped in silence."""
    with pytest.raises(ValidationError, match="nmae"):
        Counter(nmae="Ann")


def test_mutable_defaults_are_never_shared():
    """Neither those of a factory nor plain ones."""
    one, two = Counter(), Counter()
    one.heard.append("x")
    one.names.append("x")
    assert (two.heard, two.names) == ([], [])


def test_attributes_that_are_not_declared_are_ordinary():
    """They can be set, read and deleted; they are never dumped."""
    node = Counter()
    node.anything = object()
    assert "anything" not in node.state()
    del node.anything
    assert not hasattr(node, "anything")
    with pytest.raises(AttributeError):
        del node.anything


def test_a_property_can_be_set():
    """As in any class."""

    class Warm(Node):
        celsius: float = 0

        @property
        def kelvin(self):
            return self.celsius + 273

        @kelvin.setter
        def kelvin(self, value):
            self.celsius = value - 273

    warm = Warm()
    warm.kelvin = 300
    assert warm.celsius == 27


def test_role_name_and_persona():
    """A role for the class, a name and a persona for each."""
    assert Node.role == "system"
    assert Counter(name="Ann").role == "assistant"
    assert Spoken().role == "user"
    assert (Counter().name, Counter().persona) == ("", "")


def test_str_is_the_name_or_the_class():
    """Short, as it stands in transcripts."""
    assert str(Counter(name="Ann")) == "Ann"
    assert str(Counter()) == "Counter"
    assert repr(Counter(name="Ann")) == "Counter('Ann')"


def test_link_returns_the_edge():
    """An edge has the node and the metadata; edges point one way."""
    ann, bob = Counter(name="Ann"), Counter(name="Bob")
    edge = ann.link(bob, trust=0.9)
    assert isinstance(edge, Edge)
    assert Node.Edge is Edge
    assert (edge.node, edge.metadata["trust"]) == (bob, 0.9)
    assert ann.edges == {bob.id: edge}
    assert bob.edges == {}


def test_relinking_updates_the_edge():
    """What is named is changed, the rest stays."""
    ann, bob = Counter(), Counter()
    first = ann.link(bob, trust=0.9, since=1999)
    again = ann.link(bob, trust=0.1)
    assert again is first
    assert dict(again.metadata) == {"trust": 0.1, "since": 1999}
    ann.link(bob)
    assert dict(again.metadata) == {"trust": 0.1, "since": 1999}


def test_unlink():
    """It takes the edge away; that of a stranger is no error."""
    ann, bob = Counter(), Counter()
    ann.link(bob)
    ann.unlink(bob)
    ann.unlink(bob)
    assert ann.edges == {}


@pytest.mark.parametrize("other", [None, "Bob", 42, Message("x"), Counter])
def test_only_nodes_can_be_linked(other):
    """Anything else is `NotANode`, a `TypeError` that shows it."""
    with pytest.raises(NotANode) as caught:
        Counter().link(other)
    assert isinstance(caught.value, TypeError)


def test_an_address_can_be_linked():
    """A node that lives elsewhere is linked by its address."""
    ann, address = Counter(), Address("b1", "Bob")
    assert ann.link(address).node is address
    ann.unlink(address)
    assert ann.edges == {}


def test_metadata_of_an_edge_cannot_be_changed_from_outside():
    """Permissions are given by linking, not by writing into somebody's edge."""
    edge = Counter().link(Counter(), may={"spend"})
    with pytest.raises(TypeError):
        edge.metadata["may"] = {"be"}


def test_nodes_as_fields_are_kept_as_they_are():
    """A node given to another is the same node, its state its own."""

    class Editor(Node):
        friends: list[Node]
        best: Node

    ann = Counter(name="Ann")
    editor = Editor(friends=[ann], best=ann)
    assert editor.best is ann
    assert editor.friends[0] is ann
    with pytest.raises(ValidationError):
        Editor(friends=["Ann"], best=ann)


def test_a_subclass_with_an_init_of_its_own():
    """As users write it."""

    class Named(Node):
        def __init__(self, first, last):
            super().__init__(name=f"{first} {last}")
            self.first = first

    assert str(Named("Ada", "Lovelace")) == "Ada Lovelace"
    assert Named("Ada", "Lovelace").first == "Ada"


def test_a_node_has_no_room_for_surprises():
    """A hundred thousand nodes are affordable: less than two kilobytes each."""
    import tracemalloc

    tracemalloc.start()
    try:
        nodes = [Counter() for _ in range(1000)]
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(nodes) == 1000
    assert used / 1000 < 2000


def test_outside_of_handlers_time_and_chance_are_the_machines():
    """`now`, `random` and `uuid` work anywhere."""
    node = Counter()
    assert node.now().tzinfo is not None
    assert node.uuid() != node.uuid()
    assert 0 <= node.random().random() < 1
