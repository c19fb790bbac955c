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
EXCEPTIONS = {"analysis/privacy.py": {"replay"}}
"""``python -m analysis.privacy`` is a thin command over ``replay.privacy``: it is looked for among the commands that
read runs, but an attack runs extractors of a finished run again, which is the business of ``replay``."""


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
        name = path.relative_to(ROOT).as_posix()
        allowed = ALLOWED[package] | {package} | EXCEPTIONS.get(name, set())
        others = {module for module in imported(path) if module.split(".")[0] not in allowed}
        assert not others, f"{name} imports {sorted(others)}"


def test_an_exception_is_used() -> None:
    for name, packages in EXCEPTIONS.items():
        assert packages <= {module.split(".")[0] for module in imported(ROOT / name)}
