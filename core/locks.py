"""Who works on a folder or a file: locks that the system releases when their process ends, however it ends."""

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from core import atomic, interrupts
from core.errors import UserError

LOCK, HOLDER = ".lock", ".holder"
"""Files of a folder that is held: what is locked, and by whom."""
_HELD = "SIM_HELD_FOLDER"
"""Environment variable: what this process, or the one that started it, holds."""


@contextmanager
def held(folder: Path, patience: float = 0.0) -> Iterator[None]:
    """Hold an existing folder alone while the block runs.

    A process that was started by the holder, as the ServerApp of a deployment is, holds it with the holder. Raises
    :class:`UserError` if another one does, and goes on doing so for ``patience`` seconds; the line says who.
    """
    if os.environ.get(_HELD) == str(folder):
        yield
        return
    lock, note = FileLock(folder / LOCK), folder / HOLDER
    with atomic.explained(folder / LOCK):
        try:
            lock.acquire(timeout=patience)
        except Timeout:
            raise UserError(
                f"{folder} is in use by {_holder(note)}; wait until it ends, stop it, or choose another --out"
            ) from None
    before = os.environ.get(_HELD)
    try:
        atomic.write(note, _me())
        os.environ[_HELD] = str(folder)
        yield
    finally:
        if before is None:
            os.environ.pop(_HELD, None)
        else:
            os.environ[_HELD] = before
        note.unlink(missing_ok=True)
        lock.release()


@contextmanager
def alone(path: Path, say: Callable[[str], None], what: str) -> Iterator[None]:
    """Hold the lock file ``path`` while the block runs; wait for it if another process does, and say so once."""
    atomic.make_folder(path.parent)
    lock, note = FileLock(path), path.with_suffix(HOLDER)
    with atomic.explained(path):
        waiting = False
        while True:
            try:
                lock.acquire(timeout=0)
                break
            except Timeout:
                if not waiting:
                    say(f"{what} by {_holder(note)}; waiting for it")
                waiting = True
                interrupts.check()
                time.sleep(0.2)
    try:
        atomic.write(note, _me(), durable=False)
        yield
    finally:
        note.unlink(missing_ok=True)
        lock.release()


def _me() -> str:
    since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    return json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since})


def _holder(note: Path) -> str:
    try:
        found = json.loads(note.read_text(encoding="utf-8"))
        return f"process {found['pid']} on {found['host']} since {found['since']}"
    except (OSError, ValueError, KeyError, TypeError):  # it has only just begun, or has just ended
        return "another process"
