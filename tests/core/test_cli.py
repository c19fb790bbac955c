"""How a command ends."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core import cli
from core.errors import UserError


def test_a_mistake_is_one_line_and_exit_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    def mistaken() -> None:
        raise UserError("--out x is a file; name a folder")

    assert cli.run(mistaken) == 2
    assert capsys.readouterr() == ("", "error: --out x is a file; name a folder\n")


def test_an_interrupt_is_exit_status_130_and_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    assert cli.run(interrupted, lambda: "the same command continues") == 130
    assert capsys.readouterr().err.strip() == "the same command continues"


def test_what_is_done_is_exit_status_0_and_a_fault_of_ours_passes() -> None:
    assert cli.run(lambda: "any result") == 0
    with pytest.raises(ZeroDivisionError):
        cli.run(lambda: 1 / 0)


def test_an_argument_that_is_no_text_is_refused_before_anything_is_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Python reads an argument so where the locale's encoding has no such letter."""
    monkeypatch.setattr(sys, "argv", ["sim.run", "--out", "\udcc3\udc9cbung"])
    assert cli.run(lambda: pytest.fail("done")) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == r"error: '\udcc3\udc9cbung' is no text in this terminal's encoding; set PYTHONUTF8=1 and start again"


@pytest.mark.parametrize("failing", [True, False])
def test_a_terminal_without_the_letters_gets_the_line_all_the_same(failing: bool) -> None:
    code = (
        "import sys\n"
        "from core import cli\n"
        "from core.errors import UserError\n"
        "def command():\n"
        "    print('Übung\\udce9')\n"
        f"    if {failing}: raise UserError('Übung is a file')\n"
        "sys.exit(cli.run(command))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONIOENCODING": "ascii:strict", "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        check=False,
    )
    assert done.returncode == (2 if failing else 0)
    assert done.stdout == b"\\xdcbung\\udce9\n"
    assert done.stderr == (b"error: \\xdcbung is a file\n" if failing else b"")
