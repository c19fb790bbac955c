"""Imports point one way: core <- models <- clients <- strategies <- sim; all of them <- replay;
core <- analysis."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALLOWED: dict[str, set[str]] = {
    "core": set(),
    "models": {"core"},
    "clients": {"core", "models"},
    "strategies": {"core", "models", "clients"},
    "sim": {"core", "models", "clients", "strategies", "analysis"},  # a run ends with its report
    "replay": {"core", "models", "clients", "strategies", "sim", "analysis"},
    "analysis": {"core"},
}


def imported(path: Path) -> set[str]:
    """Modules of ours that a file imports, and names of them that may be modules."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {x for x in found if x.split(".")[0] in ALLOWED}


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_point_one_way(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        allowed = ALLOWED[package] | {package}
        others = {module for module in imported(path) if module.split(".")[0] not in allowed}
        assert not others, f"{path.relative_to(ROOT).as_posix()} imports {sorted(others)}"
