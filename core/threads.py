"""How many threads PyTorch computes with, and how many processors there are."""

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch with a single thread, as long as this lasts.

    Small products gain nothing from more, and beside other work they wait for threads that have no processor.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


_granted: int | None = None


def grant(count: int) -> None:
    """Let this process, a forked one, compute in ``count`` threads of its own, each of which computes alone.

    :mod:`sim.workers` says why PyTorch itself has a single thread there.
    """
    global _granted
    _granted = count


def threads() -> int:
    """In how many threads this process may compute at a time."""
    return _granted or torch.get_num_threads()


@contextmanager
def pool(count: int, each: int = 1) -> Iterator[ThreadPoolExecutor]:
    """Threads of Python, each of which computes with ``each`` threads of PyTorch; at the end they are gone.

    Python says that a thread has ended when its last function has, and the system ends it a moment later. A process
    that is forked in between inherits the locks that it held for good: of MKL's memory, for which every product waits.
    """
    begun: list[int] = []

    def begin() -> None:
        begun.append(threading.get_native_id())
        torch.set_num_threads(each)

    with ThreadPoolExecutor(count, initializer=begin) as found:
        yield found
    patience = time.monotonic() + 1
    while any(Path(f"/proc/self/task/{one}").exists() for one in begun) and time.monotonic() < patience:
        time.sleep(0.0005)


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
