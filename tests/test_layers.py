"""The house stands: modules import downwards only, and the kernel needs two libraries."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
KERNEL_MAY_USE = {"msgspec", "pydantic", "pydantic_core"}  # the last one is a part of pydantic
GRAPH_MAY_USE = {"networkx"}  # when one is asked for; test_exports.py sees that it waits till then


def lint_imports(folder):
    """Runs import-linter on the sources in a folder."""
    return subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache", "--no-logo"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder / "src")},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("kernel/errors.py", "import llambdao.networks", "kernel < networks"),
        ("kernel/errors.py", "import llambdao.kernel.message", "errors < "),
        ("surprise.py", "", "kernel < networks"),
        ("kernel/surprise.py", "", "errors < "),
    ],
    ids=["upwards", "upwards in the kernel", "a module without a place", "one in the kernel"],
)
def test_a_step_out_of_line_is_found(tmp_path, module, line, contract):
    """The contracts bite: an import against the order, or a module without a place, breaks them."""
    shutil.copytree(ROOT / "src", tmp_path / "src")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    assert lint_imports(tmp_path).returncode == 0
    with (tmp_path / "src" / "llambdao" / module).open("a") as file:
        file.write(f"\n{line}\n")
    done = lint_imports(tmp_path)
    assert done.returncode == 1
    assert any(contract in row and "BROKEN" in row for row in done.stdout.splitlines()), done.stdout


def test_the_kernel_needs_only_pydantic_and_msgspec():
    """Beside the standard library; only drawing a graph may need what draws it."""
    graph = grimp.build_graph("llambdao", include_external_packages=True, cache_dir=None)
    used = {
        module: {name.split(".")[0] for name in graph.find_modules_directly_imported_by(module)}
        - sys.stdlib_module_names
        - {"llambdao"}
        for module in graph.find_descendants("llambdao.kernel") | {"llambdao.kernel"}
    }
    assert used.pop("llambdao.kernel.graph", set()) <= KERNEL_MAY_USE | GRAPH_MAY_USE
    assert set().union(*used.values()) <= KERNEL_MAY_USE
    assert "msgspec" in used["llambdao.kernel.message"]  # the graph does see what is imported
