"""Counts and times of the ways to adapt a device."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from models.checkpoint import Sizes
from models.cloud_models import StaticModel
from replay import measure


def test_a_device_and_the_three_ways_are_timed_and_counted(tmp_path: Path) -> None:
    data = tmp_path / "shop.csv"
    lines = [f"{user},i{t % 9},{t}" for user, count in (("a", 4), ("b", 12), ("c", 20)) for t in range(count)]
    data.write_text("user,item,timestamp\n" + "\n".join(lines) + "\n")
    out = tmp_path / "deep" / "measured.json"

    assert measure.main(["--out", str(out), "--dataset", str(data), "--blocks", "2", "--accelerator", "cpu"]) == 0

    found = json.loads(out.read_text())
    assert found["interactions"] == 12  # the mean
    assert set(found["seconds"]) == set(found["macs"]) == {"extract", "generate", "on-device", "on-cloud"}
    assert min(found["seconds"].values()) > 0
    assert found["macs"]["generate"] == 2 * 64 * 20_800
    assert found["macs"]["extract"] == 2 * 5 * 6 * 64 * 64 + 64 * 2
    assert found["macs"]["on-cloud"] == 3 * 11 * (2 * (5 * 5 * 4096 + 2 * 25 * 64) + 9 * 64)
    assert found["counts"]["backbone"] == {
        "macs": 2 * 102_400 + 5 * 640 + 2 * 280,
        "weights": 41_600,
        "bits": 1_331_200,
    }


def test_an_epoch_in_the_cloud_leaves_the_hosted_model_as_it_was_and_trains_on_every_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = Sizes("sasrec", 9, 1, 5)
    model = StaticModel(sizes.build(torch.Generator()), torch.Generator())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    seen: list[list[int]] = []
    encode = type(model.device_part.backbone).encode

    def spy(self: object, windows: torch.Tensor, *args: object, **kwargs: object) -> torch.Tensor:
        seen.extend(row[0].tolist() for row in windows)
        return encode(self, windows, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(type(model.device_part.backbone), "encode", spy)
    measure.one_epoch(model, 5, np.array([3, 1, 4], dtype=np.int32))

    assert seen == [[0, 0, 0, 0, 3], [0, 0, 0, 3, 1]]
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_median_without_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 100.0, 100.0, 101.0, 101.0, 106.0, 106.0, 108.0])
    monkeypatch.setattr(measure.time, "perf_counter", lambda: next(clock))
    assert measure.timed(lambda: None, 3) == 2.0


def test_a_mistake_is_one_line_and_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert measure.main(["--out", str(tmp_path / "x"), "--backbone", "sasrek"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "x").exists()
