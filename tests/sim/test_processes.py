"""Processes that end together: whatever ends the one that started them, none of them stays."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import UserError
from sim.backends import processes
from sim.backends.processes import ProcessGroup

CHILD = "import os, signal, time; {first}; open({told!r}, 'a').write(f'{{os.getpid()}}\\n'); time.sleep(10000)"
"""A process that tells its number and stays."""
PARENT = """
import os, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", {child!r}], start_new_session=True)
open({told!r}, "a").write(f"{{os.getpid()}}\\n")
time.sleep(10000)
"""
US = """
import os, sys, threading
from pathlib import Path
from core.interrupts import terminated_like_interrupted
from sim.backends.processes import ProcessGroup

with terminated_like_interrupted(), open(os.devnull, "wb") as log, ProcessGroup(Path({folder!r})) as group:
    group.start("parent", [sys.executable, "-c", {parent!r}], os.environ, log)
    group.start("other", [sys.executable, "-c", {child!r}], os.environ, log)
    print("started", flush=True)
    sys.stdin.readline()
    {end}
"""


def wait_until(holds: Callable[[], object]) -> None:
    """Return as soon as it holds; the limit of every test ends a wait that would not."""
    while not holds():
        time.sleep(0.02)


def lives(number: int) -> bool:
    try:
        state = Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"  # nobody may be there who asks how an orphan ended


@pytest.fixture
def told(tmp_path: Path) -> Callable[[int], list[int]]:
    """Waits for so many processes to have told their numbers."""

    def numbers(count: int) -> list[int]:
        file = tmp_path / "told"
        wait_until(lambda: file.exists() and file.read_text().count("\n") == count)
        return [int(line) for line in file.read_text().split()]

    return numbers


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize(
    ("end", "number", "status"),
    [
        ("pass", None, 0),
        ("raise OSError", None, 1),
        ("os._exit(3)", None, 3),
        ("threading.Event().wait()", signal.SIGINT, -signal.SIGINT),
        ("threading.Event().wait()", signal.SIGTERM, 128 + signal.SIGTERM),
        ("threading.Event().wait()", signal.SIGKILL, -signal.SIGKILL),
    ],
)
def test_no_process_stays_whatever_ends_the_one_that_started_them(
    tmp_path: Path, told: Callable[[int], list[int]], end: str, number: int | None, status: int
) -> None:
    file, folder = str(tmp_path / "told"), tmp_path / "folder"
    folder.mkdir()
    child = CHILD.format(told=file, first="pass")
    us = US.format(folder=str(folder), parent=PARENT.format(child=child, told=file), child=child, end=end)
    process = subprocess.Popen(
        [sys.executable, "-c", us],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        # A shell may have started the tests in the background, with interrupts ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == b"started\n"
    numbers = told(3)
    assert all(lives(one) for one in numbers)
    process.stdin.write(b"go on\n")
    process.stdin.flush()
    if number is not None:
        process.send_signal(number)
    assert process.wait() == status
    wait_until(lambda: not any(lives(one) for one in numbers))
    wait_until(lambda: not folder.exists())
    process.stdin.close()
    process.stdout.close()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_a_process_that_does_not_listen_is_killed_and_one_that_ended_is_named(
    tmp_path: Path, told: Callable[[int], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "PATIENCE", 0.3)
    deaf = CHILD.format(told=str(tmp_path / "told"), first="signal.signal(signal.SIGTERM, signal.SIG_IGN)")
    with (tmp_path / "log").open("wb") as log, ProcessGroup(tmp_path / "folder") as group:
        group.start("deaf", [sys.executable, "-c", deaf], os.environ, log)
        (number,) = told(1)
        assert group.ended() == {}
        for code in ("raise SystemExit(7)", "import os; os.kill(os.getpid(), 9)"):
            group.start(code, [sys.executable, "-c", code], os.environ, log)
        wait_until(lambda: len(group.ended()) == 2)
        assert sorted(group.ended().values()) == ["exit status 7", "killed by SIGKILL"]
        with pytest.raises(UserError, match="flower-superunknown is not installed"):
            group.start("unknown", ["flower-superunknown"], os.environ, log)
        assert lives(number)
    assert not lives(number)
