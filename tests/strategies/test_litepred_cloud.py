"""LitePred from the supernet to the rows of a run."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from core.run_folder import RunFolder
from models.backbones.nextitnet import NextItNet
from sim import play, run
from sim.config import Config
from strategies.litepred import SupernetLearner, random_paths
from strategies.training.learner import Recipe
from strategies.training.windows import Batch
from tests.support.runs import Stopped, sessions, stop_after, without_report, write_csv

BLOCKS = 4
TIER = """
[cloud]
gflops = 1000
[[tier]]
name = "one"
share = 1
gflops = 1000
efficiency = 1
memory_mbyte = 10
downlink_mbit_s = 40
uplink_mbit_s = 10
picojoule_per_mac = 4.6
nanojoule_per_bit_down = 100
nanojoule_per_bit_up = 100
"""


@pytest.fixture
def config(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv("SIM_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "litepred cache"))
    without_report(monkeypatch)
    return Config(
        references="none",
        candidates="all",
        dataset=str(write_csv(tmp_path / "tiny.csv")),
        devices=10,
        methods="litepred",
        blocks=BLOCKS,
        context=5,
        memory=8,
        epochs=3,  # enough that devices find different paths
        session_length=2,
        sessions=4,
        quiet=True,
        out=tmp_path / "run",
    ).absolute()


def rows_of(config: Config) -> pd.DataFrame:
    run.main(config)
    return sessions(config.folder)


def test_the_supernet_trains_one_path_a_step_and_validates_a_path_a_window() -> None:
    drawn = random_paths(3000, 2, torch.Generator().manual_seed(0))
    counts = [int((drawn == torch.tensor(path)).all(1).sum()) for path in ([1, 0], [0, 1], [1, 1], [0, 0])]
    assert counts[3] == 0
    assert min(counts[:3]) > 900  # a third each
    learner, generator = SupernetLearner(), torch.Generator().manual_seed(1)
    model = learner.build(NextItNet(20, BLOCKS, 5, generator), generator)
    batch = Batch(*(torch.randint(1, 21, (6, 5)) for _ in range(3)), torch.full((6,), 5))
    trained = set()
    for seed in range(12):
        expected = random_paths(1, BLOCKS, torch.Generator().manual_seed(seed))[0].tolist()
        model.zero_grad(set_to_none=True)
        states, _ = learner.states(model.train(), batch, Recipe(), torch.Generator().manual_seed(seed))
        assert states.shape == (6, 5, 64)
        states.square().sum().backward()
        assert [model.network.stored(k).grad is not None for k in range(BLOCKS)] == expected
        trained.add(tuple(expected))
    assert len(trained) > 3
    model.eval()
    states = learner.states(model, batch, Recipe(), torch.Generator())[0]
    torch.testing.assert_close(states, learner.states(model, batch, Recipe(), torch.Generator())[0])
    paths = random_paths(6, BLOCKS, torch.Generator())
    for row in range(6):
        mine = model.device_part.backbone.encode(batch.windows[row][None, None], model.block, keep=paths[row][None])
        torch.testing.assert_close(states[row], mine[0, 0])


@pytest.mark.parametrize("backbone", ["sasrec", "nextitnet"])
def test_a_device_searches_once_and_trains_before_every_session(config: Config, backbone: str) -> None:
    rows = rows_of(replace(config, backbone=backbone))
    assert rows.served.all()
    assert rows.adapted.all()
    assert not rows.requested.any()
    assert (rows[["bits_up", "bits_down"]] == 0).all().all()
    assert (rows.groupby("device").path.nunique() == 1).all()
    assert rows.path.nunique() > 1
    weights, static = {"sasrec": (20_800, 0), "nextitnet": (24_704, 256)}[backbone]
    assert (rows.param_bits == 32 * (rows.blocks * weights + BLOCKS * static)).all()
    first = rows[rows.session == 0].set_index("device").seconds_adapt
    later = rows[rows.session == 1].set_index("device").seconds_adapt
    # Up to fifteen paths, each judged by 20 predictions, and 32 measured inferences.
    assert (first[later.index] > 1.3 * later).all()
    assert not list((config.folder / "world" / "devices").iterdir())


def test_a_device_searches_again_when_its_path_does_not_fit_any_more(config: Config, tmp_path: Path) -> None:
    lines = [f"{d},{s},{0.25 if s == 1 else 1.0}" for d in range(10) for s in range(4)]
    (tmp_path / "busy.csv").write_text("device,session,factor\n" + "\n".join(lines) + "\n")
    # In 1.1 microseconds five blocks, on the day when a quarter of the computing is left one.
    scenario = f'[budget]\nlatency_ms = 0.0011\n[availability]\ntrace = "busy.csv"\n{TIER}'
    (tmp_path / "busy.toml").write_text(scenario)
    rows = rows_of(replace(config, scenario=str(tmp_path / "busy.toml")))
    paths = rows.pivot(index="device", columns="session", values="path")
    blocks = rows.pivot(index="device", columns="session", values="blocks")
    assert rows.served.all()
    assert (blocks[0] > 1).any()
    assert (blocks[1].dropna() == 1).all()
    kept = paths.dropna()
    assert len(kept) > 3
    assert (kept[2] == kept[1]).all()  # it fits on a better day too
    assert (kept[3] == kept[1]).all()


def test_a_budget_bounds_the_search(config: Config, tmp_path: Path) -> None:
    # 10^12 operations a second: one block is 2 x 105,600 of them, 0.21 microseconds, beside the scoring's 0.004.
    (tmp_path / "two.toml").write_text(f"[budget]\nlatency_ms = 0.00045\n{TIER}")
    two = rows_of(replace(config, scenario=str(tmp_path / "two.toml"), out=tmp_path / "two"))
    assert two.served.all()
    assert two.blocks.max() == 2
    assert (two.seconds_inference <= 0.00045e-3).all()
    (tmp_path / "lean.toml").write_text(f"[budget]\nsession_joules = 1e-5\n{TIER}")  # 2.2 million multiply-accumulates
    lean = rows_of(replace(config, scenario=str(tmp_path / "lean.toml"), out=tmp_path / "lean"))
    assert lean.served.all()
    assert (lean.joules <= 1e-5).all()
    assert not lean.adapted.any()
    assert (lean.blocks == BLOCKS).all()  # no energy to look for anything else
    (tmp_path / "none.toml").write_text(f"[budget]\nlatency_ms = 0.000001\n{TIER}")
    none = rows_of(replace(config, scenario=str(tmp_path / "none.toml"), out=tmp_path / "none"))
    assert not none.served.any()
    assert (none[["macs", "joules"]] == 0).all().all()


def test_killing_batching_and_comparing_change_nothing(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = rows_of(replace(config, out=tmp_path / "whole"))
    with monkeypatch.context() as patch:
        stop_after(1, patch, RunFolder, "save_part")  # the second round is played, and its rows are lost
        with pytest.raises(Stopped):
            run.main(config)
    pd.testing.assert_frame_equal(rows_of(config), whole, check_exact=True)
    compared = rows_of(replace(config, compare_stale=True, out=tmp_path / "compared"))
    pd.testing.assert_frame_equal(compared[whole.columns], whole, check_exact=True)
    monkeypatch.setattr(play, "WAVE", 1)
    pd.testing.assert_frame_equal(rows_of(replace(config, out=tmp_path / "alone")), whole)


def test_by_a_policy_a_device_trains_its_path_only_now_and_then(config: Config) -> None:
    rows = rows_of(replace(config, policy="every:2"))
    assert (rows.adapted == (rows.session % 2 == 0)).all()
    assert (rows.groupby("device").path.nunique() == 1).all()
    assert not np.isnan(rows.ndcg).any()
