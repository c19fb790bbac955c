"""The case study: who is chosen, whose networks they get, and what the file says."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from replay import case_study
from sim import run
from sim.config import Config
from tests.support import untrained
from tests.support.runs import without_report


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIM_CACHE_DIR", str(home / "cache"))
        without_report(patch)
        untrained.install(patch)
        config = Config(
            references="none",
            candidates="all",
            devices=8,
            methods="devicerec,forward-ofa",
            blocks=2,
            epochs=1,
            protocol="paper",
            quiet=True,
            out=home / "run",
        )
        run.main(config.absolute())
    return home / "run"


def test_devices_differ_by_their_paths_and_ties_go_to_the_first() -> None:
    paths = np.array([[1, 1, 1], [1, 1, 0], [1, 1, 0], [0, 0, 1], [1, 1, 1], [1, 1, 0]], dtype=bool)
    # 110 is the commonest; 001 differs in all three, then 111 (at least one from 110, two from 001), then equal ones.
    assert case_study.pick(paths) == [1, 3, 0, 2]
    assert case_study.pick(paths[:2]) == [0, 1]


def test_a_partner_points_the_other_way() -> None:
    latents = torch.tensor([[1.0, 0.0], [0.9, 0.1], [-5.0, 0.1], [0.0, 3.0]])
    assert case_study.partners(latents).tolist() == [2, 2, 0, 0]


def test_own_networks_give_what_the_run_measured(folder: Path) -> None:
    found = json.loads(case_study.study(folder).read_text())
    rows = pd.read_parquet(folder / "sessions.parquet")
    means = {row["network"]: row for row in found["everyone"]}
    for network, method in (("own", "forward-ofa"), ("devicerec", "devicerec")):
        mine = rows[rows["method"] == method]
        assert means[network]["ndcg@10"] == pytest.approx(mine["ndcg"].sum() / mine["events"].sum())
        assert means[network]["blocks"] == pytest.approx(mine["blocks"].mean())
    for one in found["devices"]:
        (mask,) = rows[(rows["method"] == "forward-ofa") & (rows["device"] == one["device"])]["path"]
        assert one["path"] == [mask & 1, mask >> 1 & 1]
        own = one["networks"][0]
        assert own["network"] == "own"
        assert (own["rank"] <= 10) == (one["next"]["item"] in [item["item"] for item in own["top"]])


def test_what_is_shown_of_a_device(folder: Path) -> None:
    found = json.loads(case_study.study(folder, [5, 1]).read_text())
    assert [one["device"] for one in found["devices"]] == [5, 1]
    assert [one["partner"] for one in found["devices"]] == [1, 5]
    first = found["devices"][0]
    items = np.load(folder / "world" / "items.npy")
    offsets = np.load(folder / "world" / "offsets.npy")
    mine = items[offsets[5] : offsets[6]].tolist()
    assert [item["item"] for item in first["recent"]] == mine[-11:-1]
    assert first["next"]["item"] == mine[-1]
    assert first["next"]["genres"]
    assert [n["network"] for n in first["networks"]] == ["own", "all-blocks", "devicerec", "other"]
    assert first["networks"][1]["path"] == [1, 1]
    assert first["networks"][3]["path"] == found["devices"][1]["path"]
    assert all(len(network["top"]) == 10 for network in first["networks"])


@pytest.mark.parametrize(
    "words", [["nowhere"], ["RUN", "--devices", "1"], ["RUN", "--devices", "1,99"], ["RUN", "--devices", "1,1"]]
)
def test_a_mistake_is_one_line_and_status_2(folder: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert case_study.main([str(folder) if word == "RUN" else word for word in words]) == 2
    assert capsys.readouterr().err.count("\n") == 1
