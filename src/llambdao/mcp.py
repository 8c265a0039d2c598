"""`MCPNode`: a server of the Model Context Protocol as a node, its tools as functions for models.

ServerError
 +- NoServer           nobody can be started or reached there, or it is gone (also ConnectionError)
 +- TimedOut           it was silent for too long (also TimeoutError)
 +- UnknownFunction    it has no function of that name (also LookupError)
 +- FunctionFailed     the function says that it failed; what it says is the text
"""

from __future__ import annotations

import asyncio
import atexit
import threading
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from typing import Any, ClassVar, Self

from msgspec import field
from pydantic import Field

from llambdao.kernel.errors import BadMessage, LlambdaoError, Misused
from llambdao.kernel.message import Message
from llambdao.kernel.node import Node, intent
from llambdao.kernel.waits import call

__all__ = [
    "FunctionFailed",
    "Functions",
    "MCPNode",
    "NoServer",
    "ServerError",
    "TimedOut",
    "UnknownFunction",
    "Use",
]


class ServerError(LlambdaoError):
    """A server could not be had, or did not do what it was asked."""


class NoServer(ServerError, ConnectionError):
    """Nobody can be started or reached there, or it has gone."""


class TimedOut(ServerError, TimeoutError):
    """The server was silent for too long."""


class UnknownFunction(ServerError, LookupError):
    """The server has no function of that name."""


class FunctionFailed(ServerError):
    """The function says that it failed."""


class Use(Message, kind="llambdao.mcp.Use"):
    """What `do` takes: the name of a function, and its arguments.

    >>> Use(function="add", arguments={"a": 1, "b": 2}, intent="do").function
    'add'
    """

    function: str
    arguments: dict[str, Any] = field(default_factory=dict)


class Functions(Message, kind="llambdao.mcp.Functions"):
    """What a server can do: of each function the `name`, `description` and `parameters`."""

    functions: list[dict[str, Any]]


class MCPNode(Node):
    """A server of the Model Context Protocol: started by a `command`, or reached at a `url`.

    An `OpenAINode` that has it among its `tools`, or is linked to it, offers its functions to the
    model. Anybody else asks it to `do` a `Use`; `functions` tells what there is. The server is
    started, or connected to, when it is first asked something, and stays so until `close()`, the
    end of `with MCPNode(...)`, or the end of the program; if it has gone, the next question starts
    it anew. `timeout` is for how many seconds it may be silent. `env` is added to the few variables
    that a started server inherits; `headers` go with every request to a `url`.

    What goes wrong is a `ServerError`; a function that says it failed raises `FunctionFailed`.

    >>> MCPNode(name="Files", command=["npx", "-y", "@modelcontextprotocol/server-filesystem"])
    MCPNode('Files')
    """

    role: ClassVar[str] = "system"

    command: list[str] | None = None
    url: str | None = None
    env: dict[str, str] = Field(default_factory=dict, exclude=True)
    cwd: str | None = None
    headers: dict[str, str] = Field(default_factory=dict, exclude=True)
    timeout: float = Field(default=60.0, gt=0)

    def __init__(self, /, **fields: Any) -> None:
        super().__init__(**fields)
        if (not self.command) == (not self.url):
            raise Misused(
                "a server is started or reached: MCPNode(command=['python', 'server.py']), or"
                f" MCPNode(url='http://localhost:8000/mcp'), but got {self.command!r} and"
                f" {self.url!r}"
            )
        self.session = Session(self)

    # -- what it understands ---------------------------------------------------------------------

    @intent
    def functions(self, message: Message) -> Any:
        """Tell what functions the server has."""
        told = yield call(self._list)
        names = ", ".join(one["name"] for one in told) or "none"
        yield Functions(f"Functions of {self}: {names}", functions=told)

    def do(self, message: Use) -> Any:
        """Have the server do something: call a function with arguments."""
        if not isinstance(message, Use):
            raise BadMessage(
                f"{self} can do a Use(function=..., arguments=...), but got {message!r:.80}"
            )
        text, structured = yield call(self._do, message.function, message.arguments)
        extra = {} if structured is None else {"structured": structured}
        yield message.reply(text, metadata=extra)

    # -- the server ------------------------------------------------------------------------------

    async def _list(self) -> list[dict[str, Any]]:
        """What the server offers, page by page."""
        found: list[dict[str, Any]] = await self.session.run(_functions)
        return found

    async def _do(self, name: str, arguments: dict[str, Any]) -> list[Any]:
        """What a function gives: as text, and as data if it does."""

        async def use(client: Any) -> Any:
            return await client.call_tool(name, arguments)

        result = await self.session.run(use)
        text = "\n".join(map(_text, result.content))
        if result.is_error:
            known = [one["name"] for one in await self._list()]
            if name not in known:
                raise UnknownFunction(
                    f"{self} has no function {name!r}; it has {', '.join(known) or 'none'}"
                )
            raise FunctionFailed(text or f"{name} of {self} failed, and does not say why")
        return [text, result.structured_content]

    def close(self) -> None:
        """Stop the server, if we started it, and the connection to it."""
        self.session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Session:
    """A connection to a server, on an event loop of its own in a thread.

    The loops of conversations come and go; the connection stays. It is made at the first `run`.
    """

    def __init__(self, node: MCPNode) -> None:
        self.what = " ".join(node.command or ()) or str(node.url)
        self.timeout = node.timeout
        self.connect = _connecting(node)
        self.lock = threading.Lock()
        self.open: ExitStack | None = None
        self.portal: Any = None
        self.client: Any = None
        weakref.finalize(self, _forget, vars(self)).atexit = False
        OPEN.add(self)

    async def run(self, work: Callable[[Any], Awaitable[Any]]) -> Any:
        """What this comes to with the client, in time."""
        if self.client is None:
            await asyncio.to_thread(self.opened)
        portal, client = self.portal, self.client

        async def in_time() -> Any:
            async with asyncio.timeout(self.timeout):
                return await work(client)

        try:
            return await asyncio.wrap_future(portal.start_task_soon(in_time))
        except ServerError:
            raise
        except Exception as error:
            explained = self.explained(error)
            if isinstance(explained, NoServer):
                await asyncio.to_thread(self.close)  # the next one begins anew
            raise explained from error

    def opened(self) -> None:
        """See to it that there is a connection."""
        with self.lock:
            if self.client is not None:
                return
            try:
                from anyio.from_thread import start_blocking_portal
                from mcp import Client  # noqa: F401
            except ImportError as error:
                raise ServerError(
                    "a server of the Model Context Protocol needs the mcp package:"
                    " pip install 'llambdao[mcp]'"
                ) from error
            with ExitStack() as stack:
                self.portal = stack.enter_context(start_blocking_portal(name=f"mcp {self.what}"))
                try:
                    connected = self.portal.wrap_async_context_manager(self.connect())
                    self.client = stack.enter_context(connected)
                except Exception as error:
                    raise self.explained(error, "cannot be had") from error
                self.open = stack.pop_all()

    def explained(self, error: Exception, what: str = "is gone") -> ServerError:
        """The error of the SDK, or of what is under it, as ours."""
        from mcp import MCPError
        from mcp.types import CONNECTION_CLOSED, REQUEST_TIMEOUT

        first: BaseException = error
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        code = first.code if isinstance(first, MCPError) else None
        if isinstance(first, TimeoutError) or code == REQUEST_TIMEOUT:
            return TimedOut(
                f"{self.what} was silent for {self.timeout} seconds; give it more,"
                " MCPNode(..., timeout=...)"
            )
        if code is None or code == CONNECTION_CLOSED:
            return NoServer(
                f"the server {self.what} {what} ({str(first) or type(first).__name__}); see that it"
                " runs by itself, and that its command or url is as it is written there"
            )
        return ServerError(f"{self.what} refuses: {first}")

    def close(self) -> None:
        """End it, and wait until it has ended."""
        with self.lock:
            stack, self.open, self.client, self.portal = self.open, None, None, None
        if stack is not None:
            stack.close()


OPEN: weakref.WeakSet[Session] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """No server outlives the program that started it."""
    for session in [*OPEN]:
        session.close()


def _forget(state: dict[str, Any]) -> None:
    """A node nobody holds any longer: its server is stopped, by somebody who has time to wait."""
    if (stack := state.get("open")) is not None:
        threading.Thread(target=stack.close, daemon=True).start()


def _connecting(node: MCPNode) -> Callable[[], Any]:
    """How to connect to the server of a node; it keeps nothing of the node."""
    command, url, timeout = node.command, node.url, node.timeout
    headers, env, cwd = node.headers, node.env, node.cwd

    @asynccontextmanager
    async def connect() -> AsyncGenerator[Any, None]:
        import httpx2
        from mcp import Client, StdioServerParameters, stdio_client
        from mcp.client.streamable_http import streamable_http_client

        async with AsyncExitStack() as stack:
            if url is None:
                first, *rest = command or []
                server: Any = stdio_client(
                    StdioServerParameters(command=first, args=rest, env=env, cwd=cwd)
                )
            else:
                http = httpx2.AsyncClient(headers=headers, timeout=timeout)
                await stack.enter_async_context(http)
                server = streamable_http_client(url, http_client=http)
            async with asyncio.timeout(timeout):
                client = await stack.enter_async_context(Client(server))
            yield client

    return connect


async def _functions(client: Any) -> list[dict[str, Any]]:
    """All functions of a server, in its order."""
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = await client.list_tools(cursor=cursor)
        found += [
            {
                "name": tool.name,
                "description": tool.description or tool.title or "",
                "parameters": tool.input_schema,
            }
            for tool in page.tools
        ]
        if not (cursor := page.next_cursor):
            return found


def _text(block: Any) -> str:
    """A piece of a result in words: of what is no text, what it is."""
    if block.type == "text":
        return str(block.text)
    if block.type == "resource" and hasattr(block.resource, "text"):
        return str(block.resource.text)
    if block.type == "resource_link":
        return f"[{block.name}: {block.uri}]"
    kind = getattr(block, "mime_type", None) or "data"
    return f"[{block.type}: {kind}]"
