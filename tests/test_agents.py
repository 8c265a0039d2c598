"""Agents of other libraries as nodes: each by the same promises, with the library itself."""

import asyncio

import pytest
from ag2 import Agent as AG2Agent
from ag2.testing import TestConfig
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder, PromptTemplate
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.messages import ModelResponse, TextPart
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.models.test import TestModel

from llambdao import Delta, GroupChatNode, Message, Node, ask, tell, turns
from llambdao.ag2 import AG2Node
from llambdao.agents import AgentFailed, AgentNode, AgentTimedOut
from llambdao.kernel.errors import Misused
from llambdao.langchain import LangChainNode
from llambdao.pydantic_ai import PydanticAINode
from llambdao.runtime import Budget, BudgetReached
from llambdao.testing import check_node


class Verdict(Message, kind="agents.Verdict"):
    """A typed reply."""

    aye: bool


class Score(BaseModel):
    """No message."""

    value: int


# -- one of each -----------------------------------------------------------------------------------


def echo(messages, info):
    """Says how much it was told, and the last of it."""
    told = [part.content for m in messages for part in m.parts if part.part_kind == "user-prompt"]
    return ModelResponse(parts=[TextPart(f"{len(told)}: {told[-1]}")])


def pydantic_ai(**fields):
    """An agent of pydantic-ai that says what it heard."""

    async def stream(messages, info):
        yield echo(messages, info).parts[0].content

    agent = Agent(FunctionModel(echo, stream_function=stream))
    return PydanticAINode(name="Ann", agent=agent, **fields)


def heard(messages):
    """Says how many people's messages there are, and the last."""
    people = [m for m in messages if isinstance(m, HumanMessage)]
    return AIMessage(f"{len(people)}: {people[-1].content}")


def langchain(**fields):
    """A runnable that says what it heard."""
    return LangChainNode(name="Ann", runnable=RunnableLambda(heard), input=list, **fields)


def graph(checkpointer=None):
    """A graph that says what it heard."""
    made = StateGraph(MessagesState)
    made.add_node("heard", lambda state: {"messages": [heard(state["messages"])]})
    made.add_edge(START, "heard")
    made.add_edge("heard", END)
    return made.compile(checkpointer=checkpointer)


def langgraph(**fields):
    """The same as a graph."""
    return LangChainNode(name="Ann", runnable=graph(), **fields)


def langgraph_that_remembers(**fields):
    """The same with a memory of its own."""
    return LangChainNode(name="Ann", runnable=graph(InMemorySaver()), **fields)


class Echo(AgentNode):
    """An agent of nobody."""

    count: int = 0

    async def talk(self, words):
        """Say what it heard."""
        self.count = self.count + 1
        yield f"{self.count}: "
        yield words


def own(**fields):
    """An agent of one's own."""
    return Echo(name="Ann", **fields)


EACH = [pydantic_ai, langchain, langgraph, langgraph_that_remembers, own]
every_library = pytest.mark.parametrize("make", EACH)


def ag2(*turns):
    """An agent of AG2 that follows a script."""
    return AG2Node(name="Ann", agent=AG2Agent("ann", "Be kind.", config=TestConfig(*turns)))


@pytest.mark.parametrize("make", [*EACH, lambda: ag2("Hello.")])
def test_it_is_a_good_node(make):
    """By the conformance suite: on every driver, without a warning, and nothing left running."""
    check_node(make, [Message("Hello?", intent="chat"), Message("News", intent="inform")])


@every_library
@pytest.mark.parametrize("intent", ["chat", "request", "query"])
def test_it_answers_and_remembers(make, intent):
    """What it said and heard before is given to the agent again."""
    node = make()
    for number in (1, 2, 3):
        said = ask(node, Message(f"Question {number}?", intent=intent))
        assert said.content == f"{number}: Question {number}?"
    assert (said.sender, said.intent) == (node, "chat" if intent == "chat" else "inform")


def test_ag2_answers_and_remembers():
    """Its stream is its memory; a script begins anew with each question."""
    node = ag2("One.")
    assert [ask(node, "?").content for _ in range(2)] == ["One.", "One."]
    assert len(list(asyncio.run(node.history.history.get_events()))) == 4


@every_library
def test_informed_it_only_listens(make):
    """Until it is asked."""
    node = make()
    ann = Node(name="Rumi")
    tell(node, Message("It rains.", intent="inform", sender=ann))
    said = ask(node, Message("Well?", intent="chat", sender=ann)).content
    assert said == "1: It rains.\n\nWell?"


@every_library
def test_of_several_speakers_it_learns_who_said_what(make):
    """And nobody's second line looks like another's first."""
    node = make()
    rumi, lao = Node(name="Rumi"), Node(name="Lao Tzu")
    tell(node, Message("Why?\nLao Tzu: I give up.", intent="inform", sender=rumi))
    said = ask(node, Message("Why not?", intent="chat", sender=lao)).content
    assert said == "1: Rumi: Why?\n  Lao Tzu: I give up.\n\nLao Tzu: Why not?"


def test_they_sit_at_one_table():
    """With each other, whatever they are made of."""
    table = GroupChatNode(
        ag2("I am AG2."),
        LangChainNode(name="Bob", runnable=FakeListChatModel(responses=["I am a chain."])),
        PydanticAINode(name="Cid", agent=Agent(TestModel(custom_output_text="I am pydantic."))),
        until=turns(3),
    )
    assert {str(said) for said in table.receive("Who are you?")} == {
        "Ann: I am AG2.", "Bob: I am a chain.", "Cid: I am pydantic.",
    }  # fmt: skip


# -- what is special -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: PydanticAINode(agent=Agent(TestModel(custom_output_text="Hello dear friend"))),
        lambda: LangChainNode(runnable=FakeListChatModel(responses=["Hello dear friend"])),
        lambda: LangChainNode(
            runnable=PromptTemplate.from_template("{x}")
            | FakeListChatModel(responses=["Hello dear friend"])
            | StrOutputParser()
        ),
    ],
    ids=["pydantic_ai", "langchain", "a chain"],
)
def test_its_words_come_in_pieces(make):
    """As the library finds them; the message follows."""
    *pieces, said = make().receive("Hi", deltas=True)
    assert len(pieces) >= 3
    assert all(isinstance(piece, Delta) for piece in pieces)
    assert "".join(piece.content for piece in pieces) == said.content == "Hello dear friend"


def test_a_persona_is_told_beside_its_own_instructions():
    """Neither is lost."""
    told = []

    def listen(messages, info):
        told.append(info.instructions)
        return ModelResponse(parts=[TextPart("Yes.")])

    async def stream(messages, info):
        listen(messages, info)
        yield "Yes."

    agent = Agent(FunctionModel(listen, stream_function=stream), instructions="Be kind.")
    node = PydanticAINode(name="Ann", agent=agent)
    ask(node, "Hi")
    node.be("A pirate.")
    ask(node, "Hi")
    assert told == ["Be kind.", "Be kind.\n\nYou are Ann. A pirate."]

    def system(messages):
        return AIMessage(" ".join(m.text for m in messages if isinstance(m, SystemMessage)))

    chain = LangChainNode(name="Bob", runnable=RunnableLambda(system), input=list)
    chain.be("A pirate.")
    assert ask(chain, "Hi").content == "You are Bob. A pirate."


@pytest.mark.parametrize(
    ("output", "args", "content"),
    [
        (Verdict, {"content": "So be it.", "aye": True}, "So be it."),
        (Score, {"value": 7}, '{"value":7}'),
        (list[int], [1, 2], "[1,2]"),
    ],
)
def test_an_output_of_pydantic_ai_is_a_message(output, args, content):
    """One that is a message is said as it is, others as JSON."""
    agent = Agent(TestModel(custom_output_args=args), output_type=output)
    said = ask(PydanticAINode(name="Ann", agent=agent), "Well?")
    assert (said.content, str(said.sender)) == (content, "Ann")
    assert isinstance(said, Verdict) is (output is Verdict)


def test_it_says_what_it_cost():
    """And the tokens are charged to the budget of the conversation."""
    node = PydanticAINode(agent=Agent(TestModel(custom_output_text="Hello there")))
    budget = Budget(tokens=60, calls=5)
    said = ask(node, "Hi", budget=budget)
    assert said.metadata["tokens"] == budget.spent.tokens > 0
    assert (said.metadata["model"], budget.spent.calls) == ("test", 1)
    with pytest.raises(BudgetReached):
        for _ in range(5):
            ask(node, "Hi", budget=budget)
    assert budget.tickets == []


@pytest.mark.parametrize(
    ("prompt", "shown"),
    [
        (ChatPromptTemplate.from_messages([("human", "Q: {question}")]), "Human: Q: Well?"),
        (
            ChatPromptTemplate.from_messages([MessagesPlaceholder("history"), ("human", "{q}")]),
            "Human: Hi\nAI: Yes.\nHuman: Well?",
        ),
        (ChatPromptTemplate.from_messages([MessagesPlaceholder("messages")]),
         "Human: Hi\nAI: Yes.\nHuman: Well?"),
    ],
    ids=["a blank", "a blank and a history", "messages"],
)  # fmt: skip
def test_a_chain_is_given_what_it_takes(prompt, shown):
    """Found by its input schema."""
    seen = []

    def answer(value):
        seen.append(value.to_string())
        return "Yes."

    node = LangChainNode(runnable=prompt | RunnableLambda(answer))
    ask(node, "Hi")
    ask(node, "Well?")
    assert seen[1] == shown


def test_a_chain_that_takes_more_wants_to_be_told():
    """The error says how, and `input=` is how."""
    prompt = PromptTemplate.from_template("{a} {b}") | RunnableLambda(lambda v: v.text)
    with pytest.raises(AgentFailed, match=r"which of a, b is the question.*input=lambda"):
        ask(LangChainNode(runnable=prompt), "Hi")
    node = LangChainNode(runnable=prompt, input=lambda m: {"a": "So:", "b": m[-1].content})
    assert ask(node, "Hi").content == "So: Hi"
    with pytest.raises(AgentFailed, match="gave 7, which is no text and no message"):
        ask(LangChainNode(runnable=RunnableLambda(lambda _: 7), input=list), "Hi")


def test_a_graph_that_remembers_has_a_thread_of_its_own():
    """Two nodes on one graph do not hear each other."""
    shared = graph(InMemorySaver())
    one, other = LangChainNode(runnable=shared), LangChainNode(runnable=shared)
    assert ask(one, "a").content == "1: a"
    assert ask(one, "b").content == "2: b"
    assert ask(other, "c").content == "1: c"
    named = LangChainNode(runnable=shared, config={"configurable": {"thread_id": one.id}})
    assert ask(named, "d").content == "3: d"


# -- what goes wrong -------------------------------------------------------------------------------


def test_its_errors_are_ours_from_theirs():
    """What it was informed of is told with the next question again."""

    def fail(messages):
        raise KeyError("oh")

    node = LangChainNode(name="Ann", runnable=RunnableLambda(fail), input=list)
    tell(node, Message("It rains.", intent="inform"))
    with pytest.raises(AgentFailed, match="the agent of Ann failed: KeyError: 'oh'") as caught:
        ask(node, "Hi")
    assert isinstance(caught.value.__cause__, KeyError)
    assert [message.content for message in node.heard] == ["It rains."]
    with pytest.raises(AgentFailed, match="RuntimeError: no"):
        ask(ag2(RuntimeError("no")), "Hi")


def test_it_may_not_be_silent_for_ever():
    """The error says what to do."""

    class Silent(AgentNode):
        async def talk(self, words):
            await asyncio.sleep(60)
            yield "Late."

    with pytest.raises(AgentTimedOut, match=r"silent for 0\.01 seconds.*Silent\(timeout=\.\.\.\)"):
        ask(Silent(timeout=0.01), "Hi")


@pytest.mark.parametrize(
    ("kind", "field"), [(PydanticAINode, "agent"), (AG2Node, "agent"), (LangChainNode, "runnable")]
)
def test_what_is_no_agent_is_refused(kind, field):
    """When the node is made."""
    with pytest.raises(Misused, match=f"{field}= takes an? .*but got 'me'"):
        kind(**{field: "me"})
