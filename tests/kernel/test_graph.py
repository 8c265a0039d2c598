"""The graph of nodes can be walked and drawn, and no picture tells more than it should."""

import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, SecretStr

from llambdao import GroupChatNode, MapperNode, Node, NotANode
from llambdao.kernel.graph import reachable, to_graphviz, to_mermaid, to_networkx, to_text

PICTURES = [to_mermaid, to_graphviz, to_text]


class Team(Node):
    lead: Node | None = None
    staff: list[Node] = Field(default_factory=list)
    by_task: dict[str, list[Node]] = Field(default_factory=dict)
    key: SecretStr = SecretStr("hush")


def house():
    """A table with a group in it, a helper in a field, and edges of every kind."""
    rumi, lao, marcus = Team(name="Rumi"), Node(name="Lao Tzu"), Node(name="Marcus")
    inner = GroupChatNode(lao, marcus, name="inner")
    rumi.lead = Node(name="Shams")
    rumi.link(lao)
    lao.link(rumi)
    lao.link(marcus, trust=0.9, may={"spend", "be"})
    table = MapperNode(rumi, inner, name="table")
    table.link(marcus, may={"be"})
    return table


def names(nodes):
    """Lists the names of nodes."""
    return [str(node) for node in nodes]


def test_everybody_is_found_once_members_first_then_fields_then_edges():
    """The order is breadth first and always the same."""
    expected = ["table", "Rumi", "inner", "Marcus", "Shams", "Lao Tzu"]
    assert names(reachable(house())) == expected


def test_nodes_in_collections_in_fields_are_found():
    """In lists, in dicts of lists, and through a circle of fields."""
    ann, bob, eve = Node(name="Ann"), Node(name="Bob"), Team(name="Eve")
    team = Team(name="team", lead=eve, staff=[ann], by_task={"a": [bob, ann]})
    eve.lead = team
    assert names(reachable(team)) == ["team", "Eve", "Ann", "Bob"]


def test_what_a_node_is_made_of_leaves_edges_out():
    """Without edges only members and fields count, all the way down."""
    expected = ["table", "Rumi", "inner", "Shams", "Lao Tzu", "Marcus"]
    assert names(reachable(house(), edges=False)) == expected


def test_what_lives_elsewhere_is_there_as_its_address():
    """An edge may point to an address; nothing lies behind it."""
    ann, bob = Node(name="Ann"), Node(name="Bob")
    ann.link(bob.address)
    assert reachable(ann) == [ann, bob.address]
    assert to_text(ann) == "Ann (Node)\nBob (Address)\n\nAnn -> Bob"


def test_only_a_node_has_a_graph():
    """Anything else is refused by name."""
    with pytest.raises(NotANode, match="but got 'table'"):
        reachable("table")


def test_the_networkx_graph_has_every_relation():
    """Keys say how two nodes are related; metadata are attributes."""
    table = house()
    graph = to_networkx(table)
    rumi, lao = table["Rumi"], table["inner/Lao Tzu"]
    assert graph.nodes[rumi.id] == {"name": "Rumi", "role": "system", "type": "Team"}
    assert set(graph[table.id][rumi.id]) == {"member", "edge"}
    assert set(graph[rumi.id][rumi.lead.id]) == {"lead"}
    marcus = table["inner/Marcus"]
    assert graph.edges[lao.id, marcus.id, "edge"] == {"trust": 0.9, "may": {"be", "spend"}}


def test_without_networkx_the_error_names_the_extra(monkeypatch):
    """Who lacks the library learns what to install."""
    monkeypatch.setitem(sys.modules, "networkx", None)
    with pytest.raises(ImportError, match=re.escape("pip install 'llambdao[graph]'")):
        to_networkx(Node())


MERMAID = """\
flowchart LR
  subgraph c0["table"]
    n0((" "))
    n1["Rumi"]
    subgraph c2["inner"]
      n5["Lao Tzu"]
      n3["Marcus"]
    end
  end
  n4["Shams"]
  n0 -->|"may: be"| n3
  n1 -.->|"lead"| n4
  n1 <--> n5
  n5 -->|"trust: 0.9, may: be spend"| n3"""

DOT = """\
digraph {
  node [shape=box style=rounded]
  subgraph cluster_0 { label="table"
    n0 [label="" shape=point]
    n1 [label="Rumi"]
    subgraph cluster_2 { label="inner"
      n5 [label="Lao Tzu"]
      n3 [label="Marcus"]
    }
  }
  n4 [label="Shams"]
  n0 -> n3 [label="may: be"]
  n1 -> n4 [label="lead" style=dotted]
  n1 -> n5 [dir=both]
  n5 -> n3 [label="trust: 0.9, may: be spend"]
}"""

TEXT = """\
table (MapperNode)
  Rumi (Team)
  inner (GroupChatNode)
    Lao Tzu (Node)
    Marcus (Node)
Shams (Node)

table -> Marcus  may: be
Rumi -> Shams  lead
Rumi <-> Lao Tzu
Lao Tzu -> Marcus  trust: 0.9, may: be spend"""


@pytest.mark.parametrize(("draw", "picture"), [*zip(PICTURES, [MERMAID, DOT, TEXT], strict=True)])
def test_a_picture_is_exactly_this(draw, picture):
    """Networks hold their members; fields, edges and metadata are lines between nodes."""
    assert draw(house()) == picture


def test_a_member_of_two_networks_stands_in_the_first():
    """The other membership is a dotted line; two networks in each other are no endless picture."""
    ann = Node(name="Ann")
    one, two = MapperNode(ann, name="one"), MapperNode(ann, name="two")
    one.join(two)
    two.join(one)
    assert to_text(one) == (
        "one (MapperNode)\n  Ann (Node)\n  two (MapperNode)\n\ntwo -> Ann  member\n"
        "two -> one  member"
    )


@pytest.mark.parametrize("draw", [*PICTURES, lambda node: str(to_networkx(node).nodes(data=True))])
def test_no_field_of_a_node_is_drawn(draw):
    """Not a secret, not a persona, not a plain value."""
    ann = Team(name="Ann", persona="a spy")
    ann.link(Node(name="Bob"), token=SecretStr("hush"), rule=object())
    picture = draw(ann)
    assert "Ann" in picture
    assert not re.search("hush|spy|0x", picture)


TRICKY = st.text(st.sampled_from('"\\`<>&|{}[]()#;\n\x1b') | st.characters(), min_size=1)


@given(name=TRICKY, label=TRICKY)
def test_no_name_can_break_a_picture(name, label):
    """Whatever stands in a name or in metadata, it stays inside its quotation marks."""
    ann = Node(name=name)
    ann.link(Node(name="Bob"), word=label)
    inside = r'[^"<>&|`\[\](){}\\]*'
    mermaid = rf'flowchart LR\n  n0\["{inside}"\]\n  n1\["Bob"\]\n  n0 -->\|"word: {inside}"\| n1'
    assert re.fullmatch(mermaid, to_mermaid(ann))
    inside = r'(?:[^"\\\n]|\\["\\])*'
    dot = rf'  n0 \[label="{inside}"\]\n  n1 \[label="Bob"\]\n  n0 -> n1 \[label="word: {inside}"\]'
    assert re.search(rf"rounded\]\n{dot}\n\}}$", to_graphviz(ann))
    for draw, lines in zip(PICTURES, (4, 6, 4), strict=True):
        assert len(draw(ann).splitlines()) == lines


def test_ten_thousand_nested_networks_are_drawn_without_recursion():
    """Deep graphs cost time and text in proportion to their size."""
    node = Node(name="core")
    for depth in range(10_000):
        node = MapperNode(node, name=str(depth))
    assert len(reachable(node)) == 10_001
    for draw in PICTURES:
        picture = draw(node)
        assert "core" in picture
        assert len(picture) < 2_000_000
    assert len(to_networkx(node)) == 10_001
