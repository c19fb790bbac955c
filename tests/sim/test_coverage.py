"""Which share of the catalogue is recommended: the notes of the devices by hand, and whole runs."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

import analysis
from clients.app import app
from clients.evaluation import note_lists
from core.errors import Damaged
from core.run_folder import RunFolder
from sim.backends.inprocess import InProcessGrid
from sim.config import Config
from sim.coverage import clear_devices, recommended_items, save_coverage
from sim.experiment import execute
from tests.support.runs import sessions, small_config


def rows(*places: tuple[int, int, str]) -> pd.DataFrame:
    frame = pd.DataFrame(places, columns=["device", "session", "status"])
    return frame.assign(seed=0, method="duet")


def note(folder: Path) -> None:
    """Devices 0 and 1 recommend 2, 4 and 9 together in session 0, and device 0 recommends 4 and 7 in session 1."""
    note_lists(folder, [0, 1], [0, 0], torch.tensor([[[2, 4]], [[9, 0]]]))
    note_lists(folder, [0], [1], torch.tensor([[[4, 7]]]))


PLAYED = [(0, 0, "ok"), (1, 0, "vanished"), (0, 1, "late"), (1, 1, "dropped")]


def test_the_notes_of_all_devices_are_united(tmp_path: Path) -> None:
    note(tmp_path)
    assert recommended_items([tmp_path], rows(*PLAYED)).tolist() == [2, 4, 7, 9]
    assert recommended_items([tmp_path / "nowhere"], rows((1, 1, "dropped"))).tolist() == []


def test_the_coverage_of_a_part_is_none(tmp_path: Path) -> None:
    note(tmp_path)
    with pytest.raises(Damaged, match=r"of 1 device-sessions \(the first: device 1, session 1\)"):
        recommended_items([tmp_path], rows(*PLAYED[:3], (1, 1, "ok")))
    (found,) = (
        path for path in tmp_path.iterdir() if path.stat().st_size == min(p.stat().st_size for p in tmp_path.iterdir())
    )
    found.write_bytes(found.read_bytes()[:-1] + b"\xff")
    with pytest.raises(Damaged):
        recommended_items([tmp_path], rows(*PLAYED))


def test_what_is_not_known_is_said_and_left_empty(tmp_path: Path) -> None:
    run, said = RunFolder(tmp_path), list[str]()
    note(run.world / "lists" / "0-duet")
    both = pd.concat([rows(*PLAYED), rows((0, 0, "ok")).assign(method="gater")])
    save_coverage(run, both, 40, said.append)
    table = pd.read_csv(tmp_path / "coverage.csv")
    assert table["method"].tolist() == ["duet", "gater"]
    assert table["recommended"].fillna(-1).tolist() == [4, -1]
    assert table["items"].tolist() == [40, 40]
    assert table["bits_installed"].isna().all()  # there are no models
    (line,) = said
    assert line.startswith("the coverage of gater, seed 0, is not known")
    clear_devices(run)
    assert not (run.world / "lists").exists()


@pytest.fixture
def config(tmp_path: Path, own_cache: None) -> Config:
    small = small_config(tmp_path, methods="duet", references="popular", devices=6, blocks=1, epochs=1, sessions=2)
    return replace(small, context=None, memory=None)


def played(config: Config, batch: int = 64) -> tuple[pd.DataFrame, pd.DataFrame, Path]:
    folder = config.folder
    execute(
        config.check().absolute(),
        InProcessGrid(app, config.devices, batch=batch, node_config={"device-dir": str(folder / "world")}),
    )
    return sessions(folder), pd.read_csv(folder / "coverage.csv"), folder


def test_popularity_recommends_ten_items_to_everybody(config: Config) -> None:
    _, coverage, folder = played(config)
    table = coverage.set_index("method")
    assert (table.loc["popular", "recommended"], table.loc["popular", "items"]) == (10, 30)
    assert 10 <= table.loc["duet", "recommended"] <= 30
    assert not (folder / "world" / "lists").exists()
    summary = analysis.load(folder).summary.set_index("method")
    assert summary.loc["popular", "coverage"] == pytest.approx(1 / 3)
    assert table.loc["popular", "bits_installed"] == 32 * 30  # a rank for each item
    assert summary.loc["popular", "installed_mbit"] == pytest.approx(32 * 30 / 1e6)
    assert table.loc["duet", "bits_installed"] > 32 * 31 * 64  # embeddings, extractors, controller


def test_a_sample_adds_columns_and_changes_nothing_else_and_batches_draw_the_same(config: Config) -> None:
    plain, coverage, _ = played(config)
    sample = replace(config, evaluate="sampled:15", out=config.folder.parent / "sampled")
    found, covered, _ = played(sample)
    alone, covered_alone, _ = played(replace(sample, out=config.folder.parent / "alone"), batch=1)
    more = ["hits_sampled", "ndcg_sampled"]
    pd.testing.assert_frame_equal(found.drop(columns=more), plain)
    pd.testing.assert_frame_equal(alone, found, rtol=1e-12)
    assert coverage.equals(covered)
    assert coverage.equals(covered_alone)
    # among 16 of 30 candidates there is always less or the same before an item, and somewhere less
    assert (found["hits_sampled"] >= found["hits"]).all()
    assert found["ndcg_sampled"].sum() > found["ndcg"].sum()
