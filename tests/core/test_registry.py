"""Names that import nothing, and what they stand for."""

import sys
from pathlib import Path

import pytest

from clients.policies import POLICIES
from core.errors import UserError
from core.registry import Registry
from strategies.registry import METHODS


def test_a_name_imports_nothing_until_it_is_used() -> None:
    sys.modules.pop("this", None)
    registry: Registry[object] = Registry({"poem": "this:s", "number": "math:pi"})
    assert list(registry) == ["poem", "number"]
    assert "poem" in registry
    assert "prose" not in registry
    assert len(registry) == 2
    assert registry["number"] == 3.141592653589793
    assert "this" not in sys.modules


def test_an_unknown_name_is_a_key_error() -> None:
    registry: Registry[object] = Registry({"number": "math:pi"})
    with pytest.raises(KeyError, match="letter"):
        registry["letter"]
    assert registry.get("letter") is None


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("core.nowhere:Thing", "there is no module core.nowhere"),
        ("core.errors:UserEror", "the module core.errors has no UserEror"),
    ],
)
def test_a_place_where_nothing_is_is_said(place: str, why: str) -> None:
    with pytest.raises(UserError, match=f"mine is registered as {place}, and {why}"):
        Registry[object]({"mine": place})["mine"]


def test_what_a_module_itself_lacks_is_no_wrong_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lacking.py").write_text("import surely_not_installed\n")
    (tmp_path / "broken.py").write_text("import math\nmath.surely_not_there\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="surely_not_installed"):
        Registry[object]({"mine": "lacking:Thing"})["mine"]
    with pytest.raises(AttributeError, match="surely_not_there"):
        Registry[object]({"mine": "broken:Thing"})["mine"]


def test_what_is_assigned_is_given_back_and_can_be_taken_out() -> None:
    registry: Registry[object] = Registry({"number": "math:pi"})
    registry["number"], registry["own"] = 3, [1]
    assert dict(registry) == {"number": 3, "own": [1]}
    del registry["number"]
    assert dict(registry) == {"own": [1]}
    with pytest.raises(KeyError):
        registry["number"]


@pytest.mark.parametrize("registry", [METHODS, POLICIES], ids=["methods", "policies"])
def test_every_name_stands_for_what_calls_itself_so(registry: Registry[type]) -> None:
    assert {name: kind.name for name, kind in registry.items()} == {name: name for name in registry}  # type: ignore[attr-defined]
