"""Imports point one way: models <- clients <- strategies <- sim; analysis reads files."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALLOWED: dict[str, set[str]] = {
    "models": set(),
    "clients": {"models"},
    "strategies": {"models", "clients"},
    "sim": {"models", "clients", "strategies", "analysis"},  # a run ends with its report
    "analysis": set(),
}
LEAVES = {"sim.errors", "sim.interrupts", "sim.runfile"}
"""What every command needs: errors in one line, Ctrl-C, the options of a run folder. They import nothing of ours."""
COMMANDS = {
    "analysis/calibrate.py": {"models"},  # times networks on this machine
    "analysis/structure.py": {"sim"},  # plays sessions of a finished run again
}


def imported(path: Path) -> set[str]:
    """Modules of ours that a file imports, and names of them that may be modules; the leaves apart."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    leaves = tuple(f"{leaf}." for leaf in LEAVES)
    return {x for x in found if x.split(".")[0] in ALLOWED and not f"{x}.".startswith(leaves)}


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_point_one_way(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        name = path.relative_to(ROOT).as_posix()
        allowed = ALLOWED[package] | COMMANDS.get(name, set()) | {package}
        others = {module for module in imported(path) if module.split(".")[0] not in allowed}
        assert not others, f"{name} imports {sorted(others)}"


@pytest.mark.parametrize("leaf", sorted(LEAVES))
def test_what_everybody_may_import_imports_nothing_of_ours(leaf: str) -> None:
    assert not imported(ROOT / f"{leaf.replace('.', '/')}.py")
