"""Forked processes give what this one would, in the same order, and none outlives what it works for."""

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from flwr.clientapp import ClientApp

from core.errors import UserError
from sim import play, run
from sim.backends.inprocess import InProcessGrid
from sim.workers import AHEAD, can_fork, workers
from strategies.registry import METHODS
from tests.support.runs import own_cache, small_config

pytestmark = pytest.mark.skipif(not can_fork(), reason="processes cannot be forked here")


def power(task: int) -> tuple[int, int]:
    return task**2, os.getpid()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_results_are_in_the_order_of_the_tasks(count: int) -> None:
    with workers(power, count) as perform:
        results = list(perform(range(50)))
        again = list(perform(range(5)))
    assert [value for value, _ in results] == [task**2 for task in range(50)]
    assert [value for value, _ in again] == [0, 1, 4, 9, 16]
    pids = {pid for _, pid in results}
    assert len(pids) == count
    assert (os.getpid() in pids) == (count == 1)


def test_tasks_are_taken_when_a_process_is_free_for_them() -> None:
    taken = []

    def tasks() -> Iterator[int]:
        for task in range(1000):
            taken.append(task)
            yield task

    with workers(power, 2) as perform:
        found = perform(tasks())
        assert [next(found)[0] for _ in range(3)] == [0, 1, 4]
        assert len(taken) <= 3 + 4 * AHEAD * 2


def test_an_exception_is_raised_here_and_ends_the_processes() -> None:
    def fails(task: int) -> int:
        if task == 7:
            raise UserError(f"task {task} cannot be done")
        return task

    done = []
    with pytest.raises(UserError, match="task 7 cannot be done") as caught, workers(fails, 2) as perform:
        done.extend(perform(range(20)))
    assert done == list(range(len(done)))
    assert len(done) <= 7
    assert "in fails" in caught.value.__notes__[0]
    assert not multiprocessing.active_children()


def test_an_exception_that_cannot_travel_is_told_by_its_text() -> None:
    class Local(Exception):
        """No other process finds this class."""

    def fails(task: int) -> int:
        raise Local("of this test")

    with pytest.raises(RuntimeError, match="Local: of this test"), workers(fails, 2) as perform:
        list(perform([1]))


def test_a_process_that_dies_ends_the_run_in_one_line() -> None:
    def dies(task: int) -> int:
        if task == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return task

    with pytest.raises(UserError, match=r"died \(exit status -9\)"), workers(dies, 2) as perform:
        list(perform(range(10)))
    assert not multiprocessing.active_children()


def test_no_process_outlives_its_parent() -> None:
    """They hold the standard output of the parent, which is closed once the last of them is gone."""
    program = (
        "import os\n"
        "from sim.workers import Workers\n"
        "def same(task): return task\n"
        "found = Workers(same, 3).map(iter(int, 1))\n"
        "print(next(found), flush=True)\n"
        "os._exit(3)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout) == (3, "0\n")


@pytest.mark.parametrize(("method", "policy"), [("devicerec", "always"), ("duet", "every:2")])
def test_rows_are_the_same_whatever_the_number_of_processes(
    method: str, policy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_cache(tmp_path, monkeypatch)
    config = small_config(tmp_path, methods=method, policy=policy, devices=15, epochs=1)
    monkeypatch.setattr(play, "GROUP", 4)
    monkeypatch.setattr(play, "WORTH_A_PROCESS", 1)
    pids = tmp_path / "pids"
    pids.mkdir()
    real = play.play_wave

    def noted(*args: object) -> object:
        (pids / str(os.getpid())).touch()
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(play, "play_wave", noted)
    rows, players = [], []
    for count in (1, 2, 3):
        monkeypatch.setattr(play, "processors", lambda count=count: count)
        run.main(small_config(tmp_path, **{**vars(config), "out": tmp_path / str(count)}))
        rows.append(pd.read_parquet(tmp_path / str(count) / "sessions.parquet"))
        players.append({path.name for path in pids.iterdir()})
    assert rows[1].equals(rows[0])
    assert rows[2].equals(rows[0])
    assert players[0] == {str(os.getpid())}
    assert 1 <= len(players[1] - players[0]) <= 2
    assert 1 <= len(players[2] - players[1]) <= 3
    assert rows[0]["adapted"].any() == (method == "duet")


@pytest.mark.parametrize(
    ("method", "device_sessions", "expected"),
    [
        *(("devicerec", 1023, 1), ("devicerec", 1024, 2), ("devicerec", 10**6, 4)),
        *(("finetune", 102, 1), ("finetune", 103, 2), ("litepred", 103, 2)),
        *(("duet-plus", 341, 1), ("duet-plus", 342, 2)),
    ],
)
def test_what_takes_long_is_played_by_more_processes(
    method: str, device_sessions: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first run has 855 device-sessions: enough for a second process with Finetune, not with DeviceRec."""
    monkeypatch.setattr(play, "processors", lambda: 4)
    population = SimpleNamespace(grid=InProcessGrid(ClientApp(), 1))
    simulation = SimpleNamespace(policy_setup=None)
    assert play._processes(METHODS[method], population, simulation, device_sessions) == expected  # type: ignore[arg-type]


def test_a_run_that_is_interrupted_while_processes_play_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_cache(tmp_path, monkeypatch)
    config = small_config(tmp_path, methods="duet", policy="every:2", devices=15, epochs=1)
    monkeypatch.setattr(play, "GROUP", 4)
    run.main(small_config(tmp_path, **{**vars(config), "out": tmp_path / "whole"}))
    monkeypatch.setattr(play, "WORTH_A_PROCESS", 1)
    monkeypatch.setattr(play, "processors", lambda: 2)
    real = play.RunFolder.save_part

    def interrupted(self: play.RunFolder, seed: int, method: str, number: int, rows: pd.DataFrame) -> None:
        if number == 2:
            assert len(multiprocessing.active_children()) == 2
            raise KeyboardInterrupt
        real(self, seed, method, number, rows)

    with monkeypatch.context() as patch:
        patch.setattr(play.RunFolder, "save_part", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run.main(config)
    assert not multiprocessing.active_children()
    run.main(config)
    whole, continued = (pd.read_parquet(folder / "sessions.parquet") for folder in (tmp_path / "whole", config.folder))
    assert continued.equals(whole)
