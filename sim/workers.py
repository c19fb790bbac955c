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
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Generic, NoReturn, TypeVar, cast

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


class Worker:
    """A process that is forked from this one and calls ``serve`` with its end of a pipe; this one has ``end``.

    PyTorch computes in one thread there: a forked process has none of the threads that OpenMP has started in this one
    and would wait for them. Threads of Python that it starts itself compute, each of them alone.
    """

    def __init__(self, serve: Callable[[Connection], None], others: Iterable["Worker"]) -> None:
        """``others`` are those that were forked before and have not been ended."""
        context = multiprocessing.get_context("fork")
        self.end, there = context.Pipe()
        # A process that keeps this end of a pipe would never find that this process is gone.
        ends = [self.end, *(other.end for other in others)]
        self._process = context.Process(target=_work, args=(serve, there, ends, os.getpid()), daemon=True)
        with warnings.catch_warnings():  # Python 3.12 warns of threads; those here hold no lock that a worker takes
            warnings.filterwarnings("ignore", r".*multi-threaded.*fork", DeprecationWarning)
            self._process.start()
        there.close()

    def how_it_ended(self) -> int | None:
        """The exit status of a process whose pipe is closed; negative: the signal that killed it."""
        self._process.join(_PATIENCE)
        return self._process.exitcode

    def terminate(self) -> None:
        """Tell it to end, whatever it is doing; :meth:`close` waits until it has."""
        self._process.terminate()

    def close(self) -> None:
        """Wait until it has ended, and kill it if that takes too long."""
        self._process.join(_PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self.end.close()


def end_all(running: Collection[Worker]) -> None:
    """End all of these processes, whatever they are doing."""
    for worker in running:
        worker.terminate()
    for worker in running:
        worker.close()


class Workers(Generic[Task, Result]):
    """``count`` forked processes that call ``function``; :func:`workers` ends them."""

    def __init__(self, function: Callable[[Task], Result], count: int) -> None:
        self._workers: list[Worker] = []
        for _ in range(count):
            self._workers.append(Worker(partial(_serve, function), self._workers))

    def map(self, tasks: Iterable[Task]) -> Iterator[Result]:
        """``function`` of each task, in their order. Tasks are taken when a process is free for them, and have to be
        small: the pipe to a process holds those that wait for it.

        Raises what the function raised for the first task for which it did, and UserError if a process has died.
        """
        waiting: list[deque[int]] = [deque() for _ in self._workers]
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
        end_all(self._workers)

    def _ready(self, busy: list[int]) -> list[int]:
        ends = {id(self._workers[worker].end): worker for worker in busy}
        return [ends[id(end)] for end in wait([self._workers[worker].end for worker in busy])]

    def _send(self, worker: int, task: Task) -> None:
        try:
            self._workers[worker].end.send(task)
        except OSError:
            self._died(worker)

    def _receive(self, worker: int) -> Result:
        try:
            outcome = self._workers[worker].end.recv()
        except (EOFError, OSError):
            self._died(worker)
        found: Result = result_of(outcome)
        return found

    def _died(self, worker: int) -> NoReturn:
        status = self._workers[worker].how_it_ended()
        raise UserError(
            f"a process that plays devices died (exit status {status}); if the system was out of memory "
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


def _serve(function: Callable[[Task], Result], there: Connection) -> None:
    while True:
        there.send(attempt(partial(function, there.recv())))


def _work(serve: Callable[[Connection], None], there: Connection, others: list[Connection], parent: int) -> None:
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
        serve(there)


Outcome = tuple[Result | None, Exception | None, str]
"""What a call in another process gave, or what it raised and where."""


def attempt(function: Callable[[], Result]) -> Outcome[Result]:
    """Call ``function``, and give what came of it in a form that can travel."""
    try:
        return function(), None, ""
    except Exception as error:
        trace = traceback.format_exc()
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            return None, RuntimeError(f"{type(error).__name__}: {error}"), trace
        return None, error, trace


def result_of(outcome: Outcome[Result]) -> Result:
    """The result of an :func:`attempt`; raises what the function raised."""
    result, error, trace = outcome
    if error is not None:
        error.add_note(trace)
        raise error
    return cast(Result, result)
