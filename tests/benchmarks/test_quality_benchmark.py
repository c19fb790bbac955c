"""Time to a given quality: whose turn it is, when a value is reached, and what a quality is."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from benchmarks import quality
from benchmarks.contenders import Work
from benchmarks.data import made_up
from benchmarks.quality import Epoch, Other, Ours, race, reached, validate
from models.cloud_models import StaticModel
from sim.config import Config
from strategies.training.data import TrainingSet
from strategies.training.loop import train
from strategies.training.windows import WindowCutter


def cutter_of(data: TrainingSet, candidates: str = "unseen") -> WindowCutter:
    return WindowCutter(
        data,
        context=3,
        history_length=3,
        targets="session",
        batch=16,
        seed=0,
        candidates=candidates,  # type: ignore[arg-type]
    )


def by_item(windows: Tensor) -> Tensor:
    """The higher the item, the lower its score, but for the last item of the window, which is ahead of all."""
    scores = -torch.arange(1.0, 7.0).repeat(len(windows), 1)
    return scores.scatter(1, windows[:, -1:] - 1, 9.0)


@pytest.mark.parametrize(
    ("candidates", "expected"),
    [
        # items 5, 4: 5 is third among the candidates {1, 2, 5, 6} of (4, 3); 4 is second among {1, 4, 5, 6} of (2, 3)
        ("unseen", (1 / np.log2(4) + 1 / np.log2(3)) / 2),
        # all: 3 is ahead of all, then 1, 2, 4, 5, 6: ranks 5 and 4; the third's 2 is ranked, too: third behind 6 and 1
        ("all", (1 / np.log2(6) + 1 / np.log2(5) + 1 / np.log2(4)) / 3),
    ],
)
def test_quality_is_ndcg_of_the_item_after_each_history_among_the_candidates(candidates: str, expected: float) -> None:
    items = np.array([4, 3, 2, 3, 2, 6])  # the third user has had the item that is to be found
    data = TrainingSet(np.array([0, 2, 4, 6]), items, np.array([5, 4, 2]), 6)
    assert validate(by_item, cutter_of(data, candidates)) == pytest.approx(expected)


class Scripted:
    """A contender whose epochs are given."""

    defaults = ""

    def __init__(self, title: str, log: list[str], *epochs: Epoch) -> None:
        self.title, self.log, self.left = title, log, list(epochs)

    def epoch(self) -> Epoch | None:
        self.log.append(self.title)
        return self.left.pop(0) if self.left else None


def test_contenders_take_turns_until_each_is_there_or_has_ended() -> None:
    log: list[str] = []
    fast = Scripted("fast", log, Epoch(1.0, 0.05), Epoch(2.0, 0.2), Epoch(1.0, 0.9))
    ended = Scripted("ended", log, Epoch(5.0, 0.15))
    slow = Scripted("slow", log, *[Epoch(10.0, 0.01 * n) for n in range(1, 9)])
    noted: list[int] = []
    rows = race([fast, ended, slow], [0.1, 0.2], 4, lambda rows: noted.append(len(rows)))
    assert log == ["fast", "ended", "slow", "fast", "ended", "slow", "slow", "slow"]
    assert noted == list(range(1, 8))
    table = reached(rows, [0.1, 0.2]).set_index("contender")
    assert table["epochs"].to_dict() == {"fast": 2, "ended": 1, "slow": 4}
    assert table["s to 0.1"].to_list()[:2] == [3.0, 5.0]  # the seconds of all epochs up to the first that reaches it
    assert table.loc["fast", "s to 0.2"] == 3.0
    assert table["s to 0.2"].isna().to_list() == [False, True, True]
    assert table.loc["slow", ["s an epoch", "best NDCG@10"]].to_list() == [10.0, 0.04]
    assert np.isnan(table.loc["slow", "s to 0.1"])


class Counted:
    """A peer whose steps have eight targets."""

    title, defaults = "counted", "nothing"

    def __init__(self) -> None:
        self.steps = 0

    def working(self) -> object:
        return torch.no_grad()

    def step(self) -> Work:
        self.steps += 1
        return Work(8, 0)

    def scores(self, windows: Tensor) -> Tensor:
        return by_item(windows)


def test_an_epoch_of_a_peer_has_each_target_once() -> None:
    data = TrainingSet(np.array([0, 41]), np.tile(np.array([1, 2, 3]), 14)[:41], np.array([4]), 6)
    peer = Counted()
    epoch = Other(peer, data, cutter_of(data)).epoch()  # type: ignore[arg-type]
    assert peer.steps == 5  # 40 targets
    assert epoch.ndcg == 1.0  # 1 to 3 are no candidates


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> tuple[TrainingSet, Config]:
    data = made_up(6, 0)
    return data, Config(devices=6, blocks=1, context=5, memory=5, epochs=2, patience=1, candidates="unseen")


def test_ours_trains_as_a_run_does_epoch_by_epoch(small: tuple[TrainingSet, Config], tmp_path: Path) -> None:
    data, config = small
    (tmp_path / "one").mkdir()
    ours = Ours(data, config, tmp_path / "one")
    found = [ours.epoch() for _ in range(3)]
    whole = Ours(data, config, tmp_path)
    records = train(
        whole.learner,
        whole.model,
        data,
        whole.recipe,
        context=5,
        seed=0,
        device=torch.device("cpu"),
        checkpoint=tmp_path / "whole",
    ).records
    assert [epoch.ndcg for epoch in found[:2] if epoch is not None] == [record.valid_ndcg for record in records]
    assert found[2] is None  # two epochs are all


def test_ours_and_the_peers_are_judged_alike(small: tuple[TrainingSet, Config], tmp_path: Path) -> None:
    data, config = small
    ours = Ours(data, config, tmp_path)
    ours.recipe = quality.Recipe(averaged=0.0, batch=32, candidates="unseen", memory=5, learning_rate=0.05)
    epoch = ours.epoch()
    assert epoch is not None
    model = ours.model.eval()
    assert isinstance(model, StaticModel)

    def scores(windows: Tensor) -> Tensor:
        backbone = model.device_part.backbone
        states = backbone.encode(windows.unsqueeze(0), lambda k, rows: model.network[k])
        return backbone.score(states[0, :, -1])

    cutter = WindowCutter(data, context=5, history_length=5, targets="session", batch=16, seed=0, candidates="unseen")
    assert validate(scores, cutter) == pytest.approx(epoch.ndcg)


@pytest.mark.parametrize("wrong", ["--values 0", "--epochs 0", "--threads -1", "--learning-rate 2", "--out nowhere/x"])
def test_what_the_user_can_mend_is_one_line_and_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], wrong: str
) -> None:
    monkeypatch.setattr("sys.argv", ["quality", *wrong.split()])
    assert quality.main() == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_small_run_says_what_is_compared_and_files_each_epoch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SIM_DATA_DIR", raising=False)
    monkeypatch.setattr(quality, "peers", lambda *rest, **options: [])
    out = tmp_path / "quality.csv"
    sizes = "--users 20 --blocks 1 --context 5 --epochs 2 --values 0.99 --threads 1"
    monkeypatch.setattr("sys.argv", ["quality", *sizes.split(), "--out", str(out)])
    assert quality.main() == 0
    said = capsys.readouterr().out
    assert "synthetic: 20 users" in said
    assert "DeviceRec: learning rate 0.01" in said
    frame = pd.read_csv(out)
    assert frame["epoch"].to_list() == [1, 2]
    assert frame["seconds"].is_monotonic_increasing
