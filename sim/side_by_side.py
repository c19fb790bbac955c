"""Trainings side by side: as many at a time as there are processors, each in a process of its own.

One training uses two processors at most, and those not fully, since two threads that share each step wait for each
other. A student waits for its teacher; models that need nothing of each other do not wait.

The processes are forked (:class:`sim.workers.Worker`): they have in memory what this one has, the data among it, and
start in no time. OpenMP computes in a single thread there, so it waits for no thread that was not forked with it; where
a training is given two processors, it is its steps that start two threads (:mod:`strategies.training.step`), which give
the same numbers as one does.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Generic, TypeVar

import psutil
import torch

from core import interrupts
from core.errors import UserError
from core.threads import grant, processors
from sim.config import Config
from sim.model_cache import pick_accelerator
from sim.workers import Outcome, Worker, attempt, can_fork, end_all, result_of
from strategies.training.loop import EpochRecord, TrainingObserver

MEMORY = 1_500_000_000
"""Bytes that a training of full size takes at most."""
WORTH_A_PROCESS = 20_000
"""Targets times epochs of a training that takes about a second; a process costs a tenth of that."""
EVERY = 0.25
"""Seconds between two reports of how far an epoch is."""
Result = TypeVar("Result")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """A cloud model to be trained with a seed."""

    cloud_model: str
    seed: int
    title: str
    """What the user reads."""


Train = Callable[[Job, Sequence[TrainingObserver], Say], Result]
Watched = Callable[[Job], AbstractContextManager[Sequence[TrainingObserver]]]


def how_many(config: Config, trainings: int, targets: int) -> int:
    """How many of a run's trainings, of so many targets each in all epochs, go side by side; 1: in this process.

    That is so with a GPU, which one training fills, and in processes that Flower starts, of which not all may have
    children.
    """
    if config.backend != "inprocess" or config.superlink is not None or targets < WORTH_A_PROCESS:
        return 1
    if not can_fork() or pick_accelerator(config.accelerator).type != "cpu":
        return 1
    return max(1, min(processors(), trainings, psutil.virtual_memory().available // MEMORY))


def side_by_side(
    needs: Mapping[Job, Collection[Job]], train: Train[Result], watched: Watched, say: Say, count: int
) -> dict[Job, Result]:
    """``train`` every job, up to ``count`` at a time, each after those that it ``needs``; what each gave.

    ``needs`` holds all jobs, in an order in which they could follow each other; with a ``count`` of 1 they do, in this
    process. What ``watched`` gives observes a job while it is done; observers and ``say`` are called in this process.
    What a job raises ends the others and is raised here, and so does UserError if a process has died.
    """
    found: dict[Job, Result] = {}
    if count == 1:
        for job in needs:
            with watched(job) as observers:
                found[job] = train(job, observers, say)
        return found
    waiting = sorted(needs, key=lambda job: -_chain(job, needs))  # whom others wait for goes first
    running: list[_Training[Result]] = []
    try:
        while waiting or running:
            ready = [job for job in waiting if found.keys() >= set(needs[job])]
            for job in ready[: count - len(running)]:
                waiting.remove(job)
                running.append(_Training(job, train, watched(job), [other.worker for other in running]))
            for training in running:
                training.grant(max(1, min(torch.get_num_threads(), processors() // len(running))))
            interrupts.check()
            heard = wait([training.worker.end for training in running], timeout=1)
            for training in [one for one in running if one.worker.end in heard]:
                if (outcome := training.hear(say)) is not None:
                    found[training.job] = result_of(outcome)
                    training.finish()
                    running.remove(training)
    finally:
        end_all([training.worker for training in running])
    return found


def _chain(job: Job, needs: Mapping[Job, Collection[Job]]) -> int:
    """How many jobs follow each other in the longest chain that begins with this one."""
    return 1 + max((_chain(other, needs) for other in needs if job in needs[other]), default=0)


class _Training(Generic[Result]):
    """A training in a process of its own, as this process sees it."""

    def __init__(
        self,
        job: Job,
        train: Train[Result],
        watched: AbstractContextManager[Sequence[TrainingObserver]],
        others: Collection[Worker],
    ) -> None:
        self.job, self.worker = job, Worker(partial(_serve, partial(train, job)), others)
        self._watched, self._observers, self._threads = watched, watched.__enter__(), 0

    def grant(self, threads: int) -> None:
        """Let it compute in so many threads from its next epoch on."""
        if threads != self._threads:
            self._threads = threads
            with suppress(OSError):  # it has died: `hear` says so
                self.worker.end.send(threads)

    def hear(self, say: Say) -> Outcome[Result] | None:
        """Pass on the next thing that it has to tell; what came of it, if that is it."""
        try:
            kind, content = self.worker.end.recv()
        except (EOFError, OSError):
            raise UserError(
                f"the process that trained {self.job.title} died (exit status {self.worker.how_it_ended()}); if the "
                "system was out of memory (-9), use fewer processors, for example with taskset. The same command "
                "continues each training after its last finished epoch"
            ) from None
        if kind == "outcome":
            outcome: Outcome[Result] = content
            return outcome
        if kind == "say":
            say(content)
        else:
            for observer in self._observers:
                getattr(observer, kind)(*content)
        return None

    def finish(self) -> None:
        """It is done, and its process ends."""
        self.worker.close()
        self._watched.__exit__(None, None, None)


class _Reporter(TrainingObserver):
    """Tells the process that waits for a training how it gets on, and takes from it how many threads it may use."""

    def __init__(self, there: Connection) -> None:
        self._there, self._due = there, 0.0

    def on_batch(self, step: int, steps: int, records: Sequence[EpochRecord]) -> None:
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + EVERY
            self._there.send(("on_batch", (step, steps, records)))

    def on_epoch(self, records: Sequence[EpochRecord]) -> None:
        self._there.send(("on_epoch", (records,)))
        while self._there.poll():
            grant(self._there.recv())

    def on_end(self, records: Sequence[EpochRecord], fresh: bool) -> None:
        self._there.send(("on_end", (records, fresh)))


def _serve(train: Callable[[Sequence[TrainingObserver], Say], Result], there: Connection) -> None:
    """What the process of a training does."""
    grant(there.recv())

    def say(line: str) -> None:
        there.send(("say", line))

    there.send(("outcome", attempt(partial(train, [_Reporter(there)], say))))
