"""Processes that end together, and at the latest with the process that started them, however that one ends.

Flower's commands start further processes, some in sessions of their own, and those outlive a command that is killed.
All of them inherit a variable of the environment, by which they are found. A watcher ends them if this process cannot:
it reads from a pipe, which the system closes when this process has been killed. What is to be done in the end about
what runs elsewhere is the watcher's, too.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO

import psutil

from core.errors import UserError

MARK = "SIM_PROCESS_GROUP"
"""The variable by which the processes of a group are found; its value is the group's folder."""
PATIENCE = 10.0
"""Seconds that a process has to end when it is asked to; then it is killed."""
LIMIT = 120.0
"""Seconds for the last command."""


class ProcessGroup:
    """Commands that end, with all their descendants, when the block is left or this process ends.

    ``folder`` is an existing folder that only this group uses; the watcher removes it.
    """

    def __init__(self, folder: Path) -> None:
        self._mark = str(folder)
        self._started: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "ProcessGroup":
        # -P: what lies in the working folder must not be taken for our packages.
        self._watcher = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, self._mark],
            env={**os.environ, "PYTHONPATH": import_path()},
            stdin=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        end(self._mark)
        for process in self._started.values():
            if process.poll() is None:
                process.kill()  # nothing that was started here outlives the block, whatever became of its mark
            process.wait()
        self._watcher.communicate()  # closes the pipe

    def start(self, title: str, arguments: list[str], environment: Mapping[str, str], log: IO[bytes]) -> None:
        """Start a command that writes to ``log``; ``title`` says what it is.

        It gets a session of its own, which keeps the terminal's Ctrl-C from it, so that the order in which things stop
        is ours.
        """
        command = shutil.which(arguments[0], path=environment["PATH"])
        if command is None:
            raise UserError(f"the command {arguments[0]} is not installed: pip install 'flwr[simulation]'")
        self._started[title] = subprocess.Popen(
            [command, *arguments[1:]],
            env={**environment, MARK: self._mark},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def at_end(self, command: list[str], log: Path) -> None:
        """Have the watcher run a ``command`` (its file and arguments) when the block is left or this process ends.

        Its output is appended to ``log``. A later call takes the place of an earlier one; an empty command is none.
        """
        assert self._watcher.stdin is not None
        self._watcher.stdin.write(json.dumps([command, str(log)]) + "\n")
        self._watcher.stdin.flush()

    def finish(self, title: str) -> str:
        """Wait for a command that ends by itself, and give how it has ended."""
        return _how(self._started.pop(title).wait())

    def ended(self) -> dict[str, str]:
        """The commands that have ended, by their titles: how each of them ended."""
        codes = {title: process.poll() for title, process in self._started.items()}
        return {title: _how(code) for title, code in codes.items() if code is not None}


def import_path() -> str:
    """PYTHONPATH for a process that imports everything from where this one does."""
    return os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)


def end(mark: str) -> None:
    """Ask every process of a group to end, and kill those that do not."""
    deadline = time.monotonic() + PATIENCE
    asked: set[psutil.Process] = set()
    while (found := set(_marked(mark))) and time.monotonic() < deadline + PATIENCE:
        late = time.monotonic() > deadline
        for process in found if late else found - asked:
            # Not psutil's send_signal: it takes a process for another one when the system's clock has been set.
            with suppress(OSError):
                os.kill(process.pid, signal.SIGKILL if late else signal.SIGTERM)
        asked |= found
        time.sleep(0.1)


def _marked(mark: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # it has just ended, or is another user's
            if process.environ().get(MARK) == mark:
                yield process


def _how(code: int) -> str:
    return f"exit status {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"


def _watch(mark: str) -> None:
    """Wait until the process that started this one closes the pipe or has ended; then end what it left behind."""
    told = sys.stdin.read().splitlines()
    end(mark)
    command, log = json.loads(told[-1]) if told else ([], "")
    if command:
        # A command in Python must not end because the terminal's encoding lacks a character that it prints.
        variables = {**os.environ, "PYTHONUTF8": "1"}
        with suppress(OSError, subprocess.TimeoutExpired), open(log, "ab") as file:
            subprocess.run(
                command, env=variables, stdin=subprocess.DEVNULL, stdout=file, stderr=file, timeout=LIMIT, check=False
            )
    shutil.rmtree(mark, ignore_errors=True)


if __name__ == "__main__":
    _watch(sys.argv[1])
