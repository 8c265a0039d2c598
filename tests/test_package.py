"""What is uploaded is what a user wants: it installs anywhere, is small and says its version."""

import email
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOT_OURS = {"pip", "setuptools", "_distutils_hack"}

pytestmark = pytest.mark.timeout(300)  # pip fetches what a fresh environment needs


def run(*command):
    """Gives what a command prints; it must succeed."""
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Our wheel, as `pip wheel` builds it."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, ROOT)
    [wheel] = folder.glob("llambdao-*.whl")
    return wheel


@pytest.fixture(scope="module")
def fresh(wheel, tmp_path_factory):
    """The bin folder of a new environment with only our wheel and what it needs."""
    folder = tmp_path_factory.mktemp("fresh")
    run(sys.executable, "-m", "venv", folder)
    run(folder / "bin" / "python", "-m", "pip", "install", "--quiet", wheel)
    return folder / "bin"


def test_the_wheel_can_be_uploaded_and_is_complete(wheel):
    """Metadata older than 2.5, the licence, the type marker; nothing but our package."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        [metadata] = [name for name in names if name.endswith(".dist-info/METADATA")]
        fields = email.message_from_bytes(archive.read(metadata))
    assert fields["License-Expression"] == "Apache-2.0"
    assert tuple(map(int, fields["Metadata-Version"].split("."))) < (2, 5)
    assert "llambdao/py.typed" in names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert {re.sub(r"-.*", "", name.split("/")[0]) for name in names} == {"llambdao"}


OTHERS = {"ag2", "langchain", "pydantic_ai"}
"""The extras that bring other frameworks along: nobody wants them all."""


def test_requirements_have_lower_bounds_and_no_upper_ones():
    """An upper bound in a library locks its users in; tools of ours may have one."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    [everything] = extras.pop("all")
    assert everything == f"llambdao[{','.join(sorted(extras.keys() - OTHERS))}]"
    for requirement in sum(extras.values(), project["dependencies"]):
        assert re.fullmatch(r"[\w-]+(\[[\w,-]+\])?>=[\d.]+", requirement.split(";")[0])


def test_a_fresh_installation_is_small(fresh):
    """At most 8 packages and 15 MB, pip and the bytecode that Python makes aside."""
    packages = json.loads(run(fresh / "python", "-m", "pip", "list", "--format=json"))
    assert {"llambdao", "msgspec", "pydantic"} <= {package["name"] for package in packages}
    assert len([package for package in packages if package["name"] not in NOT_OURS]) <= 8
    [folder] = fresh.parent.glob("lib/python*/site-packages")
    size = sum(
        file.stat().st_size
        for file in folder.rglob("*")
        if file.is_file()
        and file.suffix != ".pyc"
        and re.sub(r"-.*", "", file.relative_to(folder).parts[0]) not in NOT_OURS
    )
    assert size <= 15_000_000


def test_the_command_says_its_version(fresh):
    """`llambdao --version` works where nothing but the package was installed."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert version in run(fresh / "llambdao", "--version")
