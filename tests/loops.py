"""An event loop for a test."""

import asyncio
from functools import wraps


def on_a_loop(test):
    """Run this test on an event loop of its own, for twenty seconds at most."""

    @wraps(test)
    def run(*args, **named):
        async def bounded():
            async with asyncio.timeout(20):
                await test(*args, **named)

        asyncio.run(bounded())

    return run
