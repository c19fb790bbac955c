"""Trainings side by side give what they give one after the other, and none outlives the run."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file

from core import interrupts, threads
from core.errors import UserError
from sim import side_by_side, train, trainings
from sim.config import Config
from sim.observers.progress import Display
from sim.run import cli
from sim.side_by_side import Job, Say, how_many
from sim.workers import can_fork
from strategies.training import loop
from strategies.training.loop import EpochRecord, TrainingObserver
from tests.support.runs import small_config

pytestmark = pytest.mark.skipif(not can_fork(), reason="processes cannot be forked here")
A, B, C, D, E = (Job(name, 0, name.upper()) for name in "abcde")


@pytest.fixture
def config(tmp_path: Path, own_cache: None) -> Config:
    return small_config(tmp_path, devices=6, blocks=1, epochs=2, methods="devicerec,duet,duet-plus")


@pytest.fixture
def processors(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets how many there are; the smallest training is worth a process."""
    monkeypatch.setattr(side_by_side, "WORTH_A_PROCESS", 0)
    monkeypatch.setattr(side_by_side, "MEMORY", 1)
    return lambda count: monkeypatch.setattr(side_by_side, "processors", lambda: count)


@contextmanager
def unwatched(job: Job) -> Iterator[Sequence[TrainingObserver]]:
    yield []


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def note(path: Path, line: str) -> None:
    """One line of a file to which several processes write."""
    with path.open("a") as file:
        file.write(f"{line}\n")


def epochs_noted(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Write down which process trained an epoch of which model: its own line once the epoch is saved."""
    real = loop.save_checkpoint

    def noted(checkpoint: Path, key: str, state: dict[str, object]) -> None:
        real(checkpoint, key, state)
        epoch = len(state["records"])  # type: ignore[arg-type]
        note(path, f"{checkpoint.stem.rsplit('-', 1)[0]} {epoch} {os.getpid()}")

    monkeypatch.setattr(loop, "save_checkpoint", noted)


def test_models_and_their_log_are_the_same_whatever_the_number_of_processes(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processors: Callable[[int], None]
) -> None:
    logs, models = [], []
    for count in (1, 2):
        monkeypatch.setenv("SIM_CACHE_DIR", str(tmp_path / f"cache {count}"))
        with monkeypatch.context() as patch:
            epochs_noted(patch, tmp_path / str(count))
            processors(count)
            mine = replace(config, seeds=2, out=tmp_path / f"run {count}")
            train.main(mine)
        logs.append(pd.read_csv(mine.folder / "training.csv").drop(columns="seconds"))
        models.append({path.name: load_file(path) for path in (mine.folder / "models").iterdir()})
    pd.testing.assert_frame_equal(logs[0], logs[1], check_exact=True)
    assert len(models[0]) == 6
    assert models[0].keys() == models[1].keys()
    for name, weights in models[0].items():
        for key, value in weights.items():
            np.testing.assert_array_equal(value, models[1][name][key], err_msg=f"{name} {key}")
    one, two = ([line.split() for line in lines(tmp_path / str(count))] for count in (1, 2))
    assert {pid for *_, pid in one} == {str(os.getpid())}
    assert len({pid for *_, pid in two}) == 6
    assert str(os.getpid()) not in {pid for *_, pid in two}
    assert sorted(line[:2] for line in one) == sorted(line[:2] for line in two)


def test_later_versions_are_the_same_whatever_the_number_of_processes(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processors: Callable[[int], None]
) -> None:
    logs, models = [], []
    for count in (1, 2):
        monkeypatch.setenv("SIM_CACHE_DIR", str(tmp_path / f"cache {count}"))
        processors(count)
        mine = replace(config, methods="devicerec,duet-plus,duet", references="popular", epochs=1, split="time")
        mine = replace(mine, retrain=0.1, devices=4, out=tmp_path / f"run {count}")
        train.main(mine)
        logs.append(pd.read_csv(mine.folder / "retraining.csv").drop(columns="seconds"))
        models.append({path.name: load_file(path) for path in (mine.folder / "models").iterdir()})
    pd.testing.assert_frame_equal(logs[0], logs[1], check_exact=True)
    assert logs[0]["version"].is_monotonic_increasing
    assert models[0].keys() == models[1].keys()
    for name, weights in models[0].items():
        assert all((value == models[1][name][key]).all() for key, value in weights.items()), name


def test_a_student_begins_after_its_teacher_and_others_do_not_wait(tmp_path: Path) -> None:
    """A and B begin together, as neither ends before the other has begun; C and D need A, E needs C."""
    log = tmp_path / "log"
    needs: dict[Job, list[Job]] = {A: [], B: [], C: [A], D: [A], E: [C]}

    def together(job: Job, observers: Sequence[TrainingObserver], say: Say) -> str:
        note(log, f"begin {job.title}")
        while job in (A, B) and not {"begin A", "begin B"} <= set(lines(log)):
            time.sleep(0.01)
        note(log, f"end {job.title}")
        return job.cloud_model

    began: list[Job] = []  # processes that begin together write to the log in any order

    @contextmanager
    def watched(job: Job) -> Iterator[Sequence[TrainingObserver]]:
        began.append(job)
        yield []

    found = side_by_side.side_by_side(needs, together, watched, print, count=2)
    assert found == {job: job.cloud_model for job in needs}
    events = lines(log)
    assert sorted(events) == sorted(f"{what} {job.title}" for job in needs for what in ("begin", "end"))
    for job, teachers in needs.items():
        assert all(events.index(f"end {t.title}") < events.index(f"begin {job.title}") for t in teachers)
    running = np.cumsum([1 if event.startswith("begin") else -1 for event in events])
    assert running.max() == 2
    assert began.index(C) < began.index(D)  # E waits for C, nobody for D
    assert not multiprocessing.active_children()


def test_who_is_left_alone_gets_the_processors_of_the_others(
    monkeypatch: pytest.MonkeyPatch, processors: Callable[[int], None]
) -> None:
    processors(5)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)

    def granted(job: Job, observers: Sequence[TrainingObserver], say: Say) -> list[int]:
        found = [threads.threads()]
        while job == B and found[-1] == found[0]:
            observers[0].on_epoch([])
            found.append(threads.threads())
            time.sleep(0.01)
        return sorted(set(found))

    assert side_by_side.side_by_side({A: [], B: []}, granted, unwatched, print, count=2) == {A: [2], B: [2, 4]}


def test_threads_that_this_process_has_started_are_not_waited_for(processors: Callable[[int], None]) -> None:
    """A forked process that computes in OpenMP's threads of its parent hangs."""
    processors(4)

    def product(job: Job, observers: Sequence[TrainingObserver], say: Say) -> float:
        many = torch.ones(700, 700)
        with threads.pool(threads.threads()) as pool:
            return sum(pool.map(lambda _: float((many @ many).sum()), range(2))) + float((many @ many).sum())

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        here = product(A, [], print)
        found = side_by_side.side_by_side({A: [], B: []}, product, unwatched, print, count=2)
    finally:
        torch.set_num_threads(before)
    assert found == {A: here, B: here}


def test_observers_here_are_told_of_what_happens_there(tmp_path: Path) -> None:
    record = EpochRecord(1, 2.0, 0.1, 0.2, 0.5)

    class Noted(TrainingObserver):
        def __init__(self, job: Job) -> None:
            self.job, self.told = job, list[tuple[object, ...]]()

        def on_batch(self, step: int, steps: int, records: Sequence[EpochRecord]) -> None:
            self.told.append(("batch", step, steps, list(records)))

        def on_epoch(self, records: Sequence[EpochRecord]) -> None:
            self.told.append(("epoch", list(records)))

        def on_end(self, records: Sequence[EpochRecord], fresh: bool) -> None:
            self.told.append(("end", list(records), fresh))

    observers = {job: Noted(job) for job in (A, B)}
    done: list[Job] = []
    said: list[str] = []

    @contextmanager
    def watched(job: Job) -> Iterator[Sequence[TrainingObserver]]:
        yield [observers[job]]
        done.append(job)

    def tells(job: Job, observers: Sequence[TrainingObserver], say: Say) -> int:
        for observer in observers:
            for step in range(1, 1001):
                observer.on_batch(step, 1000, [])
            observer.on_epoch([record])
            say(f"of {job.title}")
            observer.on_end([record], job == A)
        return os.getpid()

    found = side_by_side.side_by_side({A: [], B: []}, tells, watched, said.append, count=2)
    assert len({*found.values(), os.getpid()}) == 3
    for job, observer in observers.items():
        batches = [event for event in observer.told if event[0] == "batch"]
        assert batches[0] == ("batch", 1, 1000, [])
        assert len(batches) < 500  # of a thousand, which the display could not show either
        assert observer.told[len(batches) :] == [("epoch", [record]), ("end", [record], job == A)]
    assert sorted(said) == ["of A", "of B"]
    assert sorted(done, key=str) == [A, B]


def test_a_mistake_of_one_ends_the_others() -> None:
    def fails(job: Job, observers: Sequence[TrainingObserver], say: Say) -> None:
        if job == B:
            raise UserError("training B diverged")
        while True:
            time.sleep(0.01)

    with pytest.raises(UserError, match="training B diverged"):
        side_by_side.side_by_side({A: [], B: [], C: []}, fails, unwatched, print, count=2)
    assert not multiprocessing.active_children()


def command(config: Config, patch: pytest.MonkeyPatch) -> int:
    """``python -m sim.train`` in this process, with this configuration."""
    patch.setattr(sys, "argv", ["sim.train"])
    return cli(lambda _: train.main(config), "test")


@pytest.mark.parametrize("how", ["diverges", "is killed"])
def test_the_same_command_continues_after_one_of_them_has_ended(
    config: Config,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    processors: Callable[[int], None],
    capsys: pytest.CaptureFixture[str],
    how: str,
) -> None:
    """DUET ends after its first epoch, once DUET+ has had one; so DeviceRec has been trained."""
    processors(2)
    log = tmp_path / "log"
    epochs_noted(monkeypatch, log)
    real = loop.save_checkpoint

    def ends(checkpoint: Path, key: str, state: dict[str, object]) -> None:
        real(checkpoint, key, state)
        name = checkpoint.stem.rsplit("-", 1)[0]
        while name != "devicerec" and not any(line.startswith("duet-plus 1 ") for line in lines(log)):
            time.sleep(0.01)
        if name == "duet" and how == "is killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if name == "duet":
            raise loop.Diverged(2, "a loss of nan")
        while name == "duet-plus":
            time.sleep(0.01)

    mine = replace(config, methods="devicerec,duet,duet-plus")
    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_checkpoint", ends)
        assert command(mine, patch) == 2
    assert not multiprocessing.active_children()
    (error,) = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("warning: ")]
    assert error.startswith("error: ")
    if how == "is killed":
        assert "the process that trained DUET died (exit status -9)" in error
        assert "The same command continues" in error
    else:
        assert "training DUET (seed 0) diverged" in error
    before = lines(log)
    assert [line.rsplit(" ", 1)[0] for line in before if line.startswith("devicerec")] == ["devicerec 1", "devicerec 2"]
    assert command(mine, monkeypatch) == 0
    trained = sorted(line.rsplit(" ", 1)[0] for line in lines(log))
    assert trained == sorted(f"{name} {epoch}" for name in ("devicerec", "duet", "duet-plus") for epoch in (1, 2))


def test_an_interrupt_leaves_no_process_and_the_same_command_continues(
    config: Config,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    processors: Callable[[int], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    processors(2)
    log = tmp_path / "log"
    epochs_noted(monkeypatch, log)
    mine = replace(config, methods="duet,forward-ofa", epochs=3)

    class Presses(TrainingObserver):
        def on_epoch(self, records: Sequence[EpochRecord]) -> None:
            assert len(multiprocessing.active_children()) == 2
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(trainings, "Interrupts", Presses)
        assert command(mine, patch) == 130
    assert not multiprocessing.active_children()
    assert "the same command continues" in capsys.readouterr().err
    assert not (mine.folder / "training.csv").exists()
    assert command(mine, monkeypatch) == 0
    trained = sorted(line.rsplit(" ", 1)[0] for line in lines(log))
    assert trained == sorted(f"{name} {epoch}" for name in ("duet", "forward-ofa") for epoch in (1, 2, 3))


def test_an_interrupt_that_was_lost_ends_the_trainings(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Python loses those that reach it in a destructor."""

    def for_ever(job: Job, observers: Sequence[TrainingObserver], say: Say) -> None:
        while True:
            time.sleep(0.01)

    pressed = iter([False, True])
    monkeypatch.setattr(interrupts._pressed, "is_set", lambda: next(pressed))
    with pytest.raises(KeyboardInterrupt):
        side_by_side.side_by_side({A: [], B: []}, for_ever, unwatched, print, count=2)
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_no_training_outlives_the_run(how: signal.Signals) -> None:
    """They hold the standard output of the run, which is closed once the last of them is gone."""
    program = (
        "import time\n"
        "from contextlib import nullcontext\n"
        "from sim.side_by_side import Job, side_by_side\n"
        "def train(job, observers, say):\n"
        "    print(job.title + '\\n', end='', flush=True)\n"
        "    time.sleep(1000)\n"
        "jobs = {Job(name, 0, name): [] for name in 'ab'}\n"
        "side_by_side(jobs, train, lambda job: nullcontext([]), print, 2)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert sorted(process.stdout.readline() for _ in range(2)) == ["a\n", "b\n"]
        process.send_signal(how)
        assert process.stdout.read() == ""
        assert process.wait() == -how


def test_only_a_run_that_gains_by_it_trains_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_by_side, "processors", lambda: 8)
    memory = side_by_side.psutil.virtual_memory()
    monkeypatch.setattr(side_by_side.psutil, "virtual_memory", lambda: memory._replace(available=5 * 10**9))
    large, config = side_by_side.WORTH_A_PROCESS, Config(accelerator="cpu")
    assert how_many(config, 2, large) == 2
    assert how_many(config, 9, large) == 3  # memory for three
    assert how_many(config, 0, large) == 1
    assert how_many(config, 9, large - 1) == 1
    assert how_many(replace(config, backend="ray"), 9, large) == 1
    monkeypatch.setattr(side_by_side, "processors", lambda: 1)
    assert how_many(config, 9, large) == 1
    monkeypatch.setattr(side_by_side, "processors", lambda: 8)
    monkeypatch.setattr(side_by_side, "pick_accelerator", lambda name: torch.device("cuda"))
    assert how_many(config, 9, large) == 1


def test_seeds_are_told_apart_where_there_are_several(
    config: Config, monkeypatch: pytest.MonkeyPatch, processors: Callable[[int], None]
) -> None:
    processors(2)
    said: list[str] = []
    monkeypatch.setattr(Display, "say", lambda self, line: said.append(line))
    train.main(replace(config, methods="devicerec,duet-plus", seeds=2, epochs=1, quiet=False))
    told = sorted(line.split(":")[0] for line in said if line.startswith("train "))
    assert told == [f"train {name}, seed {seed}" for name in ("DUET+", "DeviceRec") for seed in (0, 1)]
