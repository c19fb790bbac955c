"""One process at a time in a folder; a kill releases it, and who waits says for whom."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import locks
from core.errors import UserError

ROOT = Path(__file__).parents[2]
HOLD = "with {call}:\n    print('held', flush=True)\n    sys.stdin.readline()\n"


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    """What a test starts; ended after it."""
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def holder(call: str, started: list[subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    """Another process, in the block of ``with call``."""
    code = f"import sys\nfrom pathlib import Path\nfrom core import locks\n{HOLD.format(call=call)}"
    environment = {name: value for name, value in os.environ.items() if name != "SIM_HELD_FOLDER"}
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    started.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def test_the_second_is_told_who_holds_the_folder_until_that_is_killed(
    tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    process = holder(f"locks.held(Path({str(tmp_path)!r}))", started)
    since = json.loads((tmp_path / ".holder").read_text())["since"]
    with pytest.raises(UserError) as caught, locks.held(tmp_path):
        pass
    line = str(caught.value)
    assert line.startswith(f"{tmp_path} is in use by process {process.pid} on {os.uname().nodename} since {since}; ")
    assert "--out" in line
    process.send_signal(signal.SIGKILL)
    process.wait()
    with locks.held(tmp_path):
        assert json.loads((tmp_path / ".holder").read_text())["pid"] == os.getpid()
    assert not (tmp_path / ".holder").exists()


def test_who_has_patience_gets_the_folder_once_it_is_left(
    tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    process = holder(f"locks.held(Path({str(tmp_path)!r}))", started)
    threading.Timer(0.5, process.kill).start()
    with locks.held(tmp_path, patience=3600):
        assert json.loads((tmp_path / ".holder").read_text())["pid"] == os.getpid()
    assert process.wait() == -signal.SIGKILL


def test_what_the_holder_starts_holds_it_with_the_holder(tmp_path: Path) -> None:
    """The ServerApp of a deployment is another process."""
    code = f"from pathlib import Path\nfrom core import locks\nwith locks.held(Path({str(tmp_path)!r})): print('in')"
    with locks.held(tmp_path):
        with locks.held(tmp_path):
            pass
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.stdout, done.returncode) == ("in\n", 0), done.stderr
    assert "SIM_HELD_FOLDER" not in os.environ


def test_the_second_waits_and_says_so_once(tmp_path: Path, started: list[subprocess.Popen[bytes]]) -> None:
    path = tmp_path / "locks" / "duet.lock"
    process = holder(f"locks.alone(Path({str(path)!r}), print, 'duet is being trained')", started)
    said = []

    def say(line: str) -> None:
        said.append(line)
        process.send_signal(signal.SIGKILL)

    with locks.alone(path, say, "duet is being trained"):
        pass
    assert len(said) == 1
    assert said[0].startswith(f"duet is being trained by process {process.pid} on ")
    assert said[0].endswith("; waiting for it")


def test_a_place_where_no_lock_can_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(UserError, match="cache is a file"), locks.alone(tmp_path / "cache" / "locks" / "x", print, ""):
        pass
    (tmp_path / "run" / ".lock").mkdir(parents=True)
    with pytest.raises(UserError, match=r"\.lock cannot be"), locks.held(tmp_path / "run"):
        pass
