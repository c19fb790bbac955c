"""A file of the user that hides a package of ours is named, by every command."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core import shadow

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("module", "hiding"),
    [
        ("sim.run", "models.py"),
        ("sim.run", "analysis/__init__.py"),
        ("sim.train", "core.py"),
        ("analysis.report", "core/__init__.py"),
        ("replay.export", "sim.py"),
    ],
)
def test_a_hidden_package_is_one_line_and_exit_status_2(module: str, hiding: str, tmp_path: Path) -> None:
    path = tmp_path / hiding
    path.parent.mkdir(exist_ok=True)
    path.write_text("")
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    named = path.parent if path.name == "__init__.py" else path
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {named.resolve()} hides a package of this program")
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_a_folder_that_is_no_package_hides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "analysis").mkdir()
    (tmp_path / "analysis" / "plot.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert shadow.hiding() is None
    (tmp_path / "analysis" / "__init__.py").write_text("")
    assert shadow.hiding() == (tmp_path / "analysis" / "__init__.py").resolve()
    with pytest.raises(ImportError, match="hides a package"):
        shadow.refuse()
