"""Sessions played again with other networks: own ones give what the run measured, and nobody gets their own back."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.errors import UserError
from replay import structure
from replay.counterfactual import partners, replay
from sim import run
from sim.config import Config
from tests.support import untrained
from tests.support.runs import without_report


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("swaps")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIM_CACHE_DIR", str(home / "cache"))
        without_report(patch)
        untrained.install(patch)
        methods = "devicerec,duet,forward-ofa,forward-ofa-plus"
        config = Config(
            references="none",
            candidates="all",
            devices=10,
            methods=methods,
            blocks=3,
            epochs=2,
            seeds=2,
            quiet=True,
            out=home / "run",
        )
        run.main(config.absolute())
    return home / "run"


@pytest.mark.parametrize("method", ["forward-ofa", "forward-ofa-plus"])
def test_own_networks_give_what_the_run_measured(folder: Path, method: str) -> None:
    rows, measured = replay(folder, method, 1), pd.read_parquet(folder / "sessions.parquet")
    key = ["device", "session"]
    own = rows[rows["network"] == "own"].set_index(key)
    there = measured[(measured["method"] == method) & (measured["seed"] == 1)].set_index(key).loc[own.index]
    for column in ("events", "hits", "path", "blocks"):
        assert own[column].tolist() == there[column].tolist(), column
    assert own["ndcg"].to_numpy() == pytest.approx(there["ndcg"].to_numpy())
    swapped, everything = (rows[rows["network"] == name] for name in ("swapped", "all-blocks"))
    assert sorted(swapped["path"]) == sorted(own["path"])
    assert set(everything["path"]) == {0b111}


def test_every_session_gets_another_devices_and_each_is_dealt_once() -> None:
    devices = np.array([3, 0, 0, 1, 1, 1, 2, 3, 0])
    for seed in range(30):
        found = partners(devices, np.random.default_rng(seed))
        assert sorted(found) == list(range(9))
        assert (devices[found] != devices).all()
    with pytest.raises(UserError, match="more than half"):
        partners(np.array([0, 0, 1]), np.random.default_rng(0))


def test_the_command_writes_its_tables(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert structure.main([str(folder), "--method", "forward-ofa", "--out", str(tmp_path)]) == 0
    assert "another device's path" in " ".join(capsys.readouterr().out.split())
    table = pd.read_csv(tmp_path / "structure-forward-ofa.csv").set_index("network")
    rows = pd.concat([replay(folder, "forward-ofa", seed) for seed in (0, 1)])
    for network, part in rows.groupby("network"):
        assert table.loc[network, "ndcg@10"] == pytest.approx(part["ndcg"].sum() / part["events"].sum(), rel=1e-4)
    assert table.loc["own", "to_own_percent"] == 0
    used = pd.read_csv(tmp_path / "structure-forward-ofa-blocks.csv").set_index("sessions")
    measured = pd.read_parquet(folder / "sessions.parquet")
    mine = measured[measured["method"] == "forward-ofa"]
    assert used.loc["all", "paths"] == mine.groupby("seed")["path"].nunique().mean()
    shares = [((part["path"].to_numpy() >> 2) & 1).mean() for _, part in mine.groupby("seed")]
    assert used.loc["all", "block_3"] == pytest.approx(np.mean(shares), rel=1e-4)


def test_a_mistake_is_one_line_and_status_2(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert structure.main(["nowhere"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    without = shutil.copytree(folder, tmp_path / "run", ignore=shutil.ignore_patterns("forward-ofa-plus-*"))
    assert structure.main([str(without)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "--methods forward-ofa-plus" in error


def test_methods_without_a_choice_are_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="do not choose"):
        replay(folder, "duet", 0)
