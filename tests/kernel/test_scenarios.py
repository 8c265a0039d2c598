"""Every scenario, with every kind of handler, on every driver: the identical transcript."""

import pytest

from clock import FakeClock
from drivers import DRIVERS
from kinds import KINDS
from llambdao import LimitReached, watch
from scenarios import SCENARIOS
from transcript import Notebook, lines

CASES = [
    pytest.param(one, KINDS[kind], drive, id=f"{one.name}-{kind}-{driver}")
    for one in SCENARIOS
    for kind in one.kinds
    for driver, drive in DRIVERS.items()
]


def options(scenario, **more):
    """The options with which it is run."""
    limits = {} if scenario.limits is None else {"limits": scenario.limits}
    return {"clock": FakeClock(), **limits, **more}


@pytest.mark.parametrize(("scenario", "handler", "drive"), CASES)
def test_the_transcript_is_the_same(scenario, handler, drive):
    """Rule 2 and the drivers: what is heard, said and left over, when, and why it ends."""
    node, message = scenario.build(handler)
    log, clock = Notebook(), FakeClock()
    given = options(scenario, observe=log, clock=clock)
    outcome = drive(lambda: node.receive(message, **given), take=scenario.take)
    assert outcome.before == scenario.heard
    if scenario.error is None:
        assert outcome.error is None
    else:
        assert isinstance(outcome.error, scenario.error)
    assert log.said == scenario.said
    assert outcome.reason == scenario.reason
    assert clock.seconds == scenario.seconds
    letters = outcome.conversation.dead_letters
    assert tuple(letter.message.content for letter in letters) == scenario.dead


@pytest.mark.parametrize(
    ("scenario", "handler"),
    [
        pytest.param(one, KINDS[kind], id=f"{one.name}-{kind}")
        for one in SCENARIOS
        for kind in one.kinds
        if one.take is None
    ],
)
def test_a_watcher_sees_what_is_said(scenario, handler):
    """Rule 14: told instead of received, the same is said, and all of it is seen, in that order."""
    node, message = scenario.build(handler)
    seen = []
    try:
        for said in watch(node, message, **options(scenario)):
            seen.append(said)  # noqa: PERF402  # what was seen before an error counts
    except (LimitReached, ValueError):
        assert scenario.error is not None
    assert lines(seen) == scenario.said


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.name)
def test_ids_and_times_are_the_same_whatever_the_kind_and_driver(scenario):
    """Rule 15: not only the words: every id, every time, every event."""
    seen = {}
    for kind in scenario.kinds:
        for driver, drive in DRIVERS.items():
            node, message = scenario.build(KINDS[kind])
            log = Notebook()
            given = options(scenario, observe=log)
            drive(
                lambda node=node, message=message, given=given: node.receive(message, **given),
                take=scenario.take,
            )
            said = [(e.message.id, e.message.timestamp) for e in log.of("said")]
            seen[kind, driver] = (said, log.course)
    expected = seen[scenario.kinds[0], "plain"]
    assert {case: one for case, one in seen.items() if one != expected} == {}
