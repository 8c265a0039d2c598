"""A server of the Model Context Protocol, by the official SDK: over stdio, or at a port."""

import os
import sys

import anyio
from mcp.server.mcpserver import Context, Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError

server = MCPServer("Adder", log_level="CRITICAL")
counted = 0


@server.tool()
def add(a: int, b: int = 2) -> int:
    """Add two numbers."""
    return a + b


@server.tool()
def count() -> str:
    """Count how often this was called."""
    global counted  # noqa: PLW0603  # a server has a state, which is what this is about
    counted += 1
    return str(counted)


@server.tool()
def fail() -> str:
    """Fail."""
    raise ToolError("not today")


@server.tool()
def die() -> str:
    """End the process."""
    os._exit(3)


@server.tool()
async def wait() -> str:
    """Wait for ever."""
    await anyio.sleep_forever()
    return "never"


@server.tool()
def draw() -> list:
    """Draw."""
    return ["a dot", Image(data=b"dot", format="png")]


@server.tool()
def whose(context: Context) -> str:
    """Say which key came with the request."""
    return context.headers["x-key"]


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run("streamable-http", port=int(sys.argv[1]))
    else:
        server.run()
