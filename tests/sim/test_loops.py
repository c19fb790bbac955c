"""The loops of a run: what is prepared once, and what observers are told."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from core import interrupts
from core.run_folder import RunFolder
from sim import data, experiment, play, run, trainings
from sim.config import Config
from sim.observers.base import PlayObserver
from sim.observers.interrupts import Interrupts
from strategies.training.loop import EpochRecord, TrainingObserver
from tests.support.runs import Stopped, small_config, stop_after


@pytest.fixture
def config(tmp_path: Path, own_cache: None) -> Config:
    return small_config(tmp_path, methods="devicerec", devices=12, patience=0)


class Noted(TrainingObserver, PlayObserver):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.ends: list[tuple[int, bool]] = []
        self.waves: list[int] = []
        self.rounds: list[tuple[int, int, bool]] = []

    def on_end(self, records: Sequence[EpochRecord], fresh: bool) -> None:
        self.ends.append((len(records), fresh))

    def on_wave(self, sessions: int) -> None:
        self.waves.append(sessions)

    def on_round(self, rows: pd.DataFrame, fresh: bool) -> None:
        assert rows["session"].nunique() == 1
        self.rounds.append((int(rows["session"].iloc[0]), len(rows), fresh))


def test_the_data_are_loaded_cut_and_described_once(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {}
    for owner, name in ((data, "load"), (experiment, "build_streams"), (experiment, "data_facts")):

        def counted(*args: object, name: str = name, real: object = getattr(owner, name), **options: object) -> object:
            counts[name] = counts.get(name, 0) + 1
            return real(*args, **options)  # type: ignore[operator]

        monkeypatch.setattr(owner, name, counted)
    run.main(config)
    assert (config.folder / "sessions.parquet").exists()
    assert counts == {"load": 1, "build_streams": 1, "data_facts": 1}


def test_an_observer_is_told_of_the_model_of_every_wave_and_of_every_round(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []

    def noted() -> Noted:
        told.append(Noted())
        return told[-1]

    for module in (trainings, experiment):
        monkeypatch.setattr(module, "Interrupts", noted)
    monkeypatch.setattr(play, "WAVE", 5)
    with monkeypatch.context() as patch:
        stop_after(2, patch, RunFolder, "save_part")
        with pytest.raises(Stopped):
            run.main(config)
    run.main(config)
    training, stopped, again, continued = told
    assert training.ends == [(2, True)]
    assert again.ends == [(2, False)]
    sizes = pd.read_parquet(config.folder / "sessions.parquet").groupby("session").size().tolist()
    waves = [[5] * (size // 5) + [size % 5] * (size % 5 > 0) for size in sizes]
    assert stopped.rounds == [(0, sizes[0], True), (1, sizes[1], True)]
    assert stopped.waves == [*waves[0], *waves[1], *waves[2]]  # the third round was played and is not saved
    assert continued.rounds == [(number, size, number > 1) for number, size in enumerate(sizes)]
    assert continued.waves == [size for wave in waves[2:] for size in wave]


def test_an_interrupt_that_got_lost_ends_both_loops() -> None:
    observer = Interrupts()
    observer.on_batch(1, 2, [])
    observer.on_round(pd.DataFrame(), fresh=True)
    interrupts._pressed.set()
    try:
        with pytest.raises(KeyboardInterrupt):
            observer.on_batch(1, 2, [])
        with pytest.raises(KeyboardInterrupt):
            observer.on_round(pd.DataFrame(), fresh=True)
    finally:
        interrupts._pressed.clear()
