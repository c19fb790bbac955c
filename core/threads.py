"""How many threads PyTorch computes with, and how many processors there are."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

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


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
