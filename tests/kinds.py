"""The kinds of handler: a script, written once as a generator, made into each of them.

`@handler` in a test or a scenario is one of these. A plain function can say several things but not
wait in between; a coroutine can wait, then return what it says. A script that does what its kind
cannot raises `NotOfThisKind`: that is a mistake in the test, which should leave the kind out.
"""

from functools import partial, wraps

import pytest

from llambdao import Wait


class NotOfThisKind(BaseException):
    """The script does what handlers of this kind cannot do."""


def generator(script):
    """The script as it is."""
    return script


def returned(said):
    """One thing as it is, several as a list, nothing as None."""
    return said if len(said) > 1 else said[0] if said else None


def plain(script):
    """A function that returns what the script says; a wait only if it is all there is."""

    @wraps(script)
    def handler(self, message):
        talk, said = script(self, message), []
        try:
            while True:
                said.append(next(talk))
        except StopIteration as stop:
            said += [] if stop.value is None else [stop.value]
        if len(said) > 1 and any(isinstance(one, Wait) for one in said):
            raise NotOfThisKind(f"{script.__qualname__} waits and goes on")
        return returned(said)

    return handler


async def step(talk, item):
    """Await a wait on behalf of a script; the function that lets the script go on."""
    try:
        value = await item
    except Exception as error:  # noqa: BLE001  # it is raised in the script
        return partial(talk.throw, error)
    return partial(talk.send, value)


def coroutine(script):
    """A coroutine function that awaits the waits of the script and returns what it says."""

    @wraps(script)
    async def handler(self, message):
        talk, said = script(self, message), []
        try:
            item = next(talk)
            while True:
                if isinstance(item, Wait):
                    if said:
                        raise NotOfThisKind(f"{script.__qualname__} waits after it has spoken")
                    item = (await step(talk, item))()
                else:
                    said.append(item)
                    item = next(talk)
        except StopIteration as stop:
            said += [] if stop.value is None else [stop.value]
        finally:
            talk.close()
        return returned(said)

    return handler


def async_generator(script, awaits=False):
    """An async generator that yields all that the script yields; or awaits the waits."""

    @wraps(script)
    async def handler(self, message):
        talk = script(self, message)
        try:
            item = next(talk)
            while True:
                if awaits and isinstance(item, Wait):
                    item = (await step(talk, item))()
                    continue
                try:
                    value = yield item
                except Exception as error:  # noqa: BLE001  # it is raised in the script
                    item = talk.throw(error)
                else:
                    item = talk.send(value)
        except StopIteration as stop:
            if stop.value is not None:
                yield stop.value
        finally:
            talk.close()

    return handler


def async_generator_awaiting(script):
    """An async generator that yields what is said, and awaits the waits."""
    return async_generator(script, awaits=True)


KINDS = {
    "plain": plain,
    "generator": generator,
    "coroutine": coroutine,
    "async-generator": async_generator,
    "async-generator-awaiting": async_generator_awaiting,
}

SPEAKING = ("generator", "async-generator", "async-generator-awaiting")
"""The kinds that can speak, wait and speak again."""

WAITING = ("generator", "coroutine", "async-generator", "async-generator-awaiting")
"""The kinds that can wait and go on."""

ALL = tuple(KINDS)


def kinds(*names):
    """Run a test with `handler` as each of these kinds, all unless named."""
    names = names or ALL
    return pytest.mark.parametrize("handler", [KINDS[name] for name in names], ids=names)
