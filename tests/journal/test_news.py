"""News from outside, which a program hears although it has ended since."""

import asyncio

import pytest

from llambdao import Message, Node, expect
from llambdao.runtime import Runtime
from llambdao.runtime.codec import NotStorable


class Listener(Node):
    """Says what is new, twice."""

    def request(self, message):
        for _ in range(2):
            news = yield expect("news")
            yield f"I heard {news}."


async def heard(url, *news):
    """Run it, let this be known, and end it: all that was ever said."""
    async with Runtime(Listener(name="listener"), journal=url) as runtime:
        await runtime.tell(runtime.nodes[0], Message("go", intent="request", id="m1"))
        await runtime.settle()
        for one in news:
            runtime.news("news", one)
            await runtime.settle()
        return [str(reply) for reply in await runtime.replies("m1")]


def test_news_is_heard_once_and_not_forgotten(tmp_path):
    """After a restart the conversation knows what it was told before, and waits for what comes."""
    url = f"sqlite:///{tmp_path}/room.db"
    assert asyncio.run(heard(url, "A")) == ["listener: I heard A."]
    assert asyncio.run(heard(url)) == ["listener: I heard A."]
    assert asyncio.run(heard(url, "B")) == ["listener: I heard A.", "listener: I heard B."]


def test_news_told_before_a_conversation_has_begun_is_not_forgotten(tmp_path):
    """It is there when its handler asks for it, now and when it is replayed."""
    url = f"sqlite:///{tmp_path}/room.db"

    async def begin():
        async with Runtime(Listener(name="listener"), journal=url) as runtime:
            replies = runtime.send(runtime.nodes[0], Message("go", intent="request", id="m1"))
            replies.news("news", "A")
            assert str(await anext(replies)) == "listener: I heard A."
            await runtime.settle()

    asyncio.run(begin())
    assert asyncio.run(heard(url, "B")) == ["listener: I heard A.", "listener: I heard B."]


def test_news_that_cannot_be_written_is_refused(tmp_path):
    """Whoever brings it hears that; the conversation goes on waiting."""

    async def tell():
        url = f"sqlite:///{tmp_path}/room.db"
        async with Runtime(Listener(name="listener"), journal=url) as runtime:
            await runtime.tell(runtime.nodes[0], Message("go", intent="request", id="m1"))
            await runtime.settle()
            with pytest.raises(NotStorable, match="the news 'news'"):
                runtime.news("news", object())
            runtime.news("news", "A")
            await runtime.settle()
            assert [str(reply) for reply in await runtime.replies("m1")] == ["listener: I heard A."]

    asyncio.run(tell())
