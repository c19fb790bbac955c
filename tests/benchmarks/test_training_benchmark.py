"""The training benchmark: what a target takes, counted by hand, and a run of two steps."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks import training
from benchmarks.contenders import Ours, Work, countable
from benchmarks.data import ML1M_ITEMS, made_up
from benchmarks.machine import product_rate
from core.errors import UserError
from models.checkpoint import Sizes
from strategies.training.data import TrainingSet
from strategies.training.learner import Recipe

LINEAR, ATTENTION = 5 * 10 * 4_096, 2 * 10 * 10 * 64
BLOCK = LINEAR + ATTENTION
"""SASRec's, on a window of 10 items."""
SCORING = 3_011 * 64
GRU_STEP = 2 * 3 * 64 * 64
"""Three gates of two products."""


@pytest.fixture(scope="module")
def one_user() -> TrainingSet:
    """A history of 21 items: 20 targets."""
    data = made_up(1, 0)
    return TrainingSet(np.array([0, 21]), data.items[:21], data.validation, ML1M_ITEMS)


def step_of(method: str, data: TrainingSet) -> tuple[Ours, Work]:
    contender = Ours(method, data, Sizes("sasrec", data.num_items, 6, 10), Recipe(memory=50), 0)
    return contender, contender.step()


def test_devicerec_takes_its_blocks_and_the_scores_of_all_items_three_times(one_user: TrainingSet) -> None:
    _, work = step_of("devicerec", one_user)
    windows = 3  # with seed 0 the first ends after 3 of the 20 targets
    assert work.targets == 20
    assert work.macs == 3 * (windows * 6 * BLOCK + 20 * SCORING)
    # of a full window of ten targets: 3 * (6 * (204,800 + 12,800) / 10 + 192,704)
    assert 3 * (6 * BLOCK // 10 + SCORING) == 969_792


@pytest.mark.parametrize(
    ("method", "heads", "choice", "networks"),
    [
        ("duet", 6 * 64 * 20_800, 0, 1),
        ("forward-ofa", 6 * 64 * 20_800, 1, 1),
        # 16 directions in and out of 64 -> 192, 64 -> 64, 64 -> 64 at ten positions; 16 + width numbers of the interest
        ("duet-plus", 6 * (10 * 16 * (256 + 128 + 128) + 64 * (3 * 16 + 320)), 0, 1),
        ("forward-ofa-plus", 6 * (10 * 16 * (256 + 128 + 128) + 64 * (3 * 16 + 320)), 1, 2),  # its path, and all blocks
    ],
)
def test_adaptation_adds_extractors_over_real_items_and_the_mapper(
    one_user: TrainingSet, method: str, heads: int, choice: int, networks: int
) -> None:
    _, work = step_of(method, one_user)
    cut = next(Ours(method, one_user, Sizes("sasrec", ML1M_ITEMS, 6, 10), Recipe(memory=50), 0).batches)
    windows, items = len(cut.windows), int(cut.lengths.sum())
    network = windows * (6 * BLOCK + heads) + 20 * SCORING + items * GRU_STEP
    controller = windows * 64 * 6 + items * GRU_STEP
    assert work == Work(20, 3 * (networks * network + choice * controller))


def test_methods_that_are_not_counted_are_refused(one_user: TrainingSet) -> None:
    with pytest.raises(UserError, match="gater"):
        step_of("gater", one_user)
    assert countable(step_of("forward-ofa-controller", one_user)[0].model)


def test_a_step_trains(one_user: TrainingSet) -> None:
    contender, _ = step_of("devicerec", one_user)
    before = contender.model.device_part.backbone.items.detach().clone()
    contender.step()
    assert not torch.equal(before, contender.model.device_part.backbone.items)


def test_the_limit_is_a_rate_that_a_product_reaches() -> None:
    rate = product_rate(torch.float32, 0.0)
    assert 1e8 < rate < 1e15


class Steady:
    """A contender that takes as long as it is told, on a clock that it moves itself."""

    def __init__(self, title: str, targets: int, macs: int, seconds: float, clock: list[float]) -> None:
        self.title, self.work, self.seconds, self.clock = title, Work(targets, macs), seconds, clock

    def working(self) -> AbstractContextManager[None]:
        return nullcontext()

    def step(self) -> Work:
        self.clock[0] += self.seconds
        return self.work


def test_ratios_are_taken_within_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(training.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(training, "product_rate", lambda precision, seconds: 1e9)
    contenders = [
        Steady("RecBole SASRec", 100, 10**9, 4.0, clock),
        Steady("RecBole unchecked", 100, 10**9, 2.0, clock),
        Steady("RecTools SASRec", 100, 10**9, 1.0, clock),
        Steady("ours", 1_000, 10**9, 2.0, clock),
    ]
    frame = training.measure(contenders, rounds=2, seconds=3.0).set_index("method")
    ours = frame.loc["ours"]
    assert ours["targets_per_s"] == 500  # two steps of 2 s
    assert ours["of_fp32_limit"] == pytest.approx(0.5)  # 5e8 a second of 1e9
    assert ours["mmacs_per_target"] == pytest.approx(1.0)
    assert ours["times_recbole"] == pytest.approx(20)  # 500 against 25
    assert ours["times_unchecked"] == pytest.approx(10)
    assert ours["times_rectools"] == pytest.approx(5)
    assert ours["largest_over_smallest"] == 1


def test_a_small_run_writes_one_row_for_each_contender(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SIM_DATA_DIR", raising=False)
    monkeypatch.setattr(training, "WARM_UP", 1)
    out = tmp_path / "training.csv"
    sizes = "--users 20 --blocks 2 --contexts 10 --threads 1 --rounds 1 --seconds 0.01"
    monkeypatch.setattr("sys.argv", ["training", *sizes.split(), "--out", str(out)])
    assert training.main() == 0
    frame = pd.read_csv(out)
    ours = ["DeviceRec", "DUET", "Forward-OFA", "DUET+", "Forward-OFA+"]
    assert [name for name in frame["method"] if not name.startswith("Rec")] == ours
    assert (frame["targets_per_s"] > 0).all()
    assert (frame["dataset"] == "made-up").all()
    assert frame["command"][0].startswith("python -m benchmarks.training --users 20")
    assert frame["command"][0].endswith(" --out training.csv")
    if not any("RecTools" in name for name in frame["method"]):
        assert frame["times_rectools"].isna().all()
        assert "'.[benchmark]'" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("wrong", ["--methods devicereck", "--threads -1", "--contexts 0", "--out nowhere/x.csv"])
def test_what_the_user_can_mend_is_one_line_and_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], wrong: str
) -> None:
    monkeypatch.setattr("sys.argv", ["training", *wrong.split()])
    assert training.main() == 2
    assert capsys.readouterr().err.count("\n") == 1
