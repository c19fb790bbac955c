"""Ctrl-C that is not lost, and SIGTERM that leaves nothing behind.

Python raises KeyboardInterrupt wherever the main thread happens to be. If that is a destructor or a callback from C,
the exception is printed and forgotten, and the run goes on. So it is also written down, and long work asks now and
then.
"""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_pressed = threading.Event()


@contextmanager
def remembered() -> Iterator[None]:
    """Write down that Ctrl-C was pressed while the block runs, besides raising KeyboardInterrupt as always."""

    def press(number: int, frame: FrameType | None) -> None:
        _pressed.set()
        raise KeyboardInterrupt

    with _handled(signal.SIGINT, press):
        try:
            yield
        finally:
            if _in_main():
                _pressed.clear()


@contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """Let SIGTERM unwind the stack as Ctrl-C does; else processes and drafts would be left behind."""

    def leave(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    with _handled(signal.SIGTERM, leave):
        yield


@contextmanager
def _handled(number: signal.Signals, handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Answer a signal with ``handler`` while the block runs; in other threads than the main one, which signals do not
    reach, change nothing."""
    if not _in_main():
        yield
        return
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


def _in_main() -> bool:
    return threading.current_thread() is threading.main_thread()


def check() -> None:
    """Raise KeyboardInterrupt if Ctrl-C was pressed and got lost."""
    if _pressed.is_set():
        raise KeyboardInterrupt
