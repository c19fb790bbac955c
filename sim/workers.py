"""Processes that work beside this one: forked from it, each with a share of its tasks, the results in the order of the
tasks.

Python computes in one thread at a time, and half of what a device-session takes is Python; so other processes, and not
threads, use the other processors. They are forked and not started anew: they have in memory what this process has.
"""

import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Generic, NoReturn, TypeVar

import torch

from core.errors import UserError
from core.interrupts import terminated_like_interrupted

AHEAD = 2
"""Tasks that each process has been given and that are not done: one that it works on, one that waits."""
_DIE_WITH_PARENT = 1
"""Linux's PR_SET_PDEATHSIG."""
_PATIENCE = 10.0
"""Seconds for a process to end that was told to."""
Task = TypeVar("Task")
Result = TypeVar("Result")


def can_fork() -> bool:
    """Whether this process can be forked: not where libraries of the system forbid it (macOS, Windows), nor with a GPU
    in use, which a forked process cannot use, nor in a process that may have no children."""
    able = sys.platform == "linux" and not multiprocessing.current_process().daemon
    return able and not torch.cuda.is_initialized()


class Workers(Generic[Task, Result]):
    """``count`` forked processes that call ``function``; :func:`workers` ends them."""

    def __init__(self, function: Callable[[Task], Result], count: int) -> None:
        context = multiprocessing.get_context("fork")
        self._processes: list[BaseProcess] = []
        self._ends: list[Connection] = []
        for _ in range(count):
            here, there = context.Pipe()
            self._ends.append(here)
            # A process that keeps this end of a pipe would never find that this process is gone.
            process = context.Process(target=_serve, args=(function, there, list(self._ends), os.getpid()), daemon=True)
            with warnings.catch_warnings():  # Python 3.12 warns of threads; those here hold no lock that a worker takes
                warnings.filterwarnings("ignore", r".*multi-threaded.*fork", DeprecationWarning)
                process.start()
            self._processes.append(process)
            there.close()

    def map(self, tasks: Iterable[Task]) -> Iterator[Result]:
        """``function`` of each task, in their order. Tasks are taken when a process is free for them, and have to be
        small: the pipe to a process holds those that wait for it.

        Raises what the function raised for the first task for which it did, and UserError if a process has died.
        """
        waiting: list[deque[int]] = [deque() for _ in self._ends]
        found: dict[int, Result] = {}
        numbered = enumerate(tasks)
        given = handed_out = 0
        exhausted = False
        while not exhausted or handed_out < given:
            while not exhausted and given - handed_out < 4 * AHEAD * len(waiting):
                worker = min(range(len(waiting)), key=lambda w: len(waiting[w]))
                if len(waiting[worker]) == AHEAD:
                    break
                following = next(numbered, None)
                if following is None:
                    exhausted = True
                    break
                number, task = following
                self._send(worker, task)
                waiting[worker].append(number)
                given = number + 1
            busy = [worker for worker, mine in enumerate(waiting) if mine]
            for worker in self._ready(busy) if busy else []:
                found[waiting[worker].popleft()] = self._receive(worker)
            while handed_out in found:
                yield found.pop(handed_out)
                handed_out += 1

    def close(self) -> None:
        """End all processes, whatever they are doing."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join(_PATIENCE)
            if process.is_alive():
                process.kill()
                process.join()
        for end in self._ends:
            end.close()

    def _ready(self, busy: list[int]) -> list[int]:
        ends = {id(self._ends[worker]): worker for worker in busy}
        return [ends[id(end)] for end in wait([self._ends[worker] for worker in busy])]

    def _send(self, worker: int, task: Task) -> None:
        try:
            self._ends[worker].send(task)
        except OSError:
            self._died(worker)

    def _receive(self, worker: int) -> Result:
        try:
            result, error, trace = self._ends[worker].recv()
        except (EOFError, OSError):
            self._died(worker)
        if error is not None:
            error.add_note(trace)
            raise error
        found: Result = result
        return found

    def _died(self, worker: int) -> NoReturn:
        process = self._processes[worker]
        process.join(_PATIENCE)
        raise UserError(
            f"a process that plays devices died (exit status {process.exitcode}); if the system was out of memory "
            "(-9), use fewer processors, for example with taskset. The same command continues"
        )


@contextmanager
def workers(function: Callable[[Task], Result], count: int) -> Iterator[Callable[[Iterable[Task]], Iterator[Result]]]:
    """Give a map that calls ``function`` in ``count`` forked processes; with one, in this process, task after task."""
    if count < 2:
        yield lambda tasks: map(function, tasks)
        return
    forked = Workers(function, count)
    try:
        yield forked.map
    finally:
        forked.close()


def _serve(function: Callable[[Task], Result], there: Connection, others: list[Connection], parent: int) -> None:
    """What a forked process does until its parent is gone or ends it.

    It holds the locks that its parent held: were it to finish its task after a parent that was killed, the same command
    would find its folder in use.
    """
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent as well, which ends this process
    for end in others:
        end.close()
    torch.set_num_threads(1)  # threads of the parent are not here
    with terminated_like_interrupted(), suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            there.send(_attempt(function, there.recv()))


def _attempt(function: Callable[[Task], Result], task: Task) -> tuple[Result | None, Exception | None, str]:
    try:
        return function(task), None, ""
    except Exception as error:
        trace = traceback.format_exc()
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            return None, RuntimeError(f"{type(error).__name__}: {error}"), trace
        return None, error, trace
