"""A runtime in a thousand orders of events, with faults and without, each twice: what always holds.

Three kinds of programs: the scenarios, each as three conversations of the same nodes at once; the
programs of `worlds.py`, which assert what the rules promise; and deliberate bugs, each of which
those must find. What holds of them all is in `audit.py`.
"""

import asyncio
import os
import shutil
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from audit import audited
from kinds import KINDS
from llambdao.testing import simulate
from mutants import MUTANTS
from scenarios import SCENARIOS
from transcript import lines
from worlds import FAULTS, WORLDS

SEEDS, FEWER = 1_000, 30
"""As many over all scenarios, and for each of the programs."""

SOAK = 100
"""How many times as many in the larger form."""

CASES = [(one, kind) for one in SCENARIOS for kind in one.kinds]
AT_ONCE = 3
"""As so many conversations a scenario is run at once."""


# -- what is heard, where the order is defined -----------------------------------------------------


def in_order(scenario, heard):
    """Exactly what the scenario says."""
    assert heard == scenario.heard


def in_any_order(scenario, heard):
    """Handing a reply to the caller is a wait, at which other members come in."""
    assert Counter(heard) == Counter(scenario.heard)


def as_a_round(scenario, heard):
    """So many utterances, each of them in answer to an earlier one of somebody else."""
    assert len(heard) == len(scenario.heard)
    said = ["go"]
    for one in heard:
        who, _, before = one.partition(": ")
        assert before in said
        assert not before.startswith(who)
        said.append(one)


def as_counted(scenario, heard):
    """All conversations tell the one worker, who has heard three of them at least."""
    (words,) = heard
    assert words.startswith("done by ")
    assert 3 <= int(words.rpartition(" ")[2]) <= 3 * AT_ONCE


RULES = {
    "a_network": in_any_order,
    "a_round_table": as_a_round,
    "a_question_after_what_was_told": as_counted,
}
"""By what rule replies are compared; `in_order` unless named here."""


def several(scenario, kind, is_well):
    """The program of a scenario: several conversations of the same nodes at once."""

    async def program(simulation):
        node, message = scenario.build(KINDS[kind])
        options = {} if scenario.limits is None else {"limits": scenario.limits}
        events = []

        async def listen(runtime):
            conversation = runtime.send(node, message.but(), observe=events.append)
            heard, error = [], None
            try:
                async for said in conversation:
                    heard.append(said.content)
                    if len(heard) == scenario.take:
                        break
            except Exception as failure:  # noqa: BLE001  # it is compared
                error = failure
            await conversation.aclose()
            return conversation, heard, error

        async with simulation.runtime(node, **options) as runtime:
            outcomes = await asyncio.gather(*(listen(runtime) for _ in range(AT_ONCE)))
        if is_well:
            for conversation, heard, error in outcomes:
                check(scenario, conversation, heard, error, events)

    return audited(program)


def check(scenario, conversation, heard, error, events):
    """What came of one conversation is what the scenario says."""
    rule = RULES.get(scenario.name, in_order)
    rule(scenario, heard)
    assert conversation.reason == scenario.reason
    assert isinstance(error, scenario.error or type(None))
    dead = tuple(letter.message.content for letter in conversation.dead_letters)
    assert dead == scenario.dead
    if rule in (in_order, in_any_order):
        opening = conversation._scheduler.opening
        mine = [one.message for one in events if one.kind == "said" and one.conversation is opening]
        assert Counter(lines(mine)) == Counter(scenario.said)


def run_scenario(scenario, seeds, faults):
    """Run a scenario with its share of the seeds, spread over the kinds of handlers."""
    mine = [place for place, (one, _) in enumerate(CASES) if one is scenario]
    for place in mine:
        program = several(scenario, CASES[place][1], is_well=faults is None)
        simulate(program, range(place, seeds, len(CASES)), faults=faults, turns=50_000)


every_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.name)
every_world = pytest.mark.parametrize("program", WORLDS, ids=lambda one: one.__name__)
with_faults = pytest.mark.parametrize("faults", [None, FAULTS], ids=["well", "faulty"])


@with_faults
@every_scenario
def test_scenarios_hold_in_every_order(scenario, faults):
    """Whatever the order they hear what they should; whatever goes wrong all comes to an end."""
    run_scenario(scenario, SEEDS, faults)


@with_faults
@every_world
def test_programs_hold_in_every_order(program, faults):
    """What the rules promise is so, whoever goes first and whatever goes wrong."""
    simulate(program, range(FEWER), faults=faults, turns=50_000)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@with_faults
@every_scenario
def test_scenarios_hold_in_very_many_orders(scenario, faults):
    """A hundred thousand of them."""
    run_scenario(scenario, SEEDS * SOAK, faults)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@with_faults
@every_world
def test_programs_hold_in_very_many_orders(program, faults):
    """Three thousand of each."""
    simulate(program, range(FEWER * SOAK), faults=faults, turns=50_000)


# -- deliberate bugs -------------------------------------------------------------------------------

ROOT = Path(__file__).parents[2]
FEW = 12
"""So many seeds must be enough to find a bug."""


def found(mutant, folder):
    """What the programs find wrong in a copy of the sources with this bug; nothing, if nothing."""
    copy = folder / str(MUTANTS.index(mutant)) if mutant else folder / "none"
    shutil.copytree(ROOT / "src", copy)
    if mutant is not None:
        file = copy / "llambdao" / mutant.file
        text = file.read_text("utf-8")
        assert text.count(mutant.text) == 1, f"{mutant.name}: the text is not there once any more"
        file.write_text(text.replace(mutant.text, mutant.otherwise), "utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", ROOT / "tests" / "worlds.py", str(FEW)],
        env={**os.environ, "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode in (0, 1), done.stderr
    assert "Error" not in done.stderr, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_deliberate_bugs_are_found(tmp_path):
    """Each of them, with a few seeds; and nothing where there is no bug."""
    with ThreadPoolExecutor(2) as pool:
        wrong = pool.map(lambda one: found(one, tmp_path), [None, *MUTANTS])
        outputs = dict(zip(["no bug", *(one.name for one in MUTANTS)], wrong, strict=True))
    assert outputs.pop("no bug") == ""
    assert [name for name, output in outputs.items() if not output] == []
