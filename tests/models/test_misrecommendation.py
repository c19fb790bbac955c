"""The mis-recommendation detector on disk: the same verdicts, and a file that appears whole or not at all."""

import os
from pathlib import Path

import pytest
import torch

from models.misrecommendation import Detector, load_detector, save_detector


def test_a_detector_comes_back_with_its_verdicts(tmp_path: Path) -> None:
    made = Detector(torch.Generator().manual_seed(0))
    save_detector(tmp_path / "mrd.safetensors", made)
    stale, fresh = torch.randn(2, 5, 64, generator=torch.Generator().manual_seed(1))
    assert torch.equal(load_detector(tmp_path / "mrd.safetensors").doubt(stale, fresh), made.doubt(stale, fresh))
    assert [path.name for path in tmp_path.iterdir()] == ["mrd.safetensors"]


def test_a_detector_whose_writing_was_interrupted_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(source: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        save_detector(tmp_path / "mrd.safetensors", Detector(torch.Generator()))
    assert not (tmp_path / "mrd.safetensors").exists()
