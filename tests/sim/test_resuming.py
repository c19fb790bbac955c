"""A run that was stopped, and the folder it is in: what the same command continues, and what it leaves alone."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.errors import UserError
from core.run_folder import RunFolder
from replay.networks import own_network
from sim import model_cache, play, run, train
from sim.config import Config
from sim.experiment import prepare
from strategies.training import loop
from tests.support.runs import Stopped, call, sessions, stop_after

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.mark.parametrize(("owner", "name", "calls"), [("run_folder", "save_part", 5), ("training", "validate", 3)])
def test_a_killed_run_continues_and_ends_with_the_same_rows(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: str, name: str, calls: int
) -> None:
    with monkeypatch.context() as patch:
        stop_after(calls, patch, RunFolder if owner == "run_folder" else loop, name)
        with pytest.raises(Stopped):
            run.main(config)
    assert config.out is not None
    assert not (config.out / "sessions.parquet").exists()
    run.main(config)
    monkeypatch.setenv("SIM_CACHE_DIR", str(tmp_path / "another cache"))
    whole = replace(config, out=tmp_path / "whole")
    run.main(whole)
    pd.testing.assert_frame_equal(sessions(config.out), sessions(tmp_path / "whole"), check_exact=True)


@pytest.mark.parametrize(("owner", "name", "calls"), [(np, "save", 3), (os, "replace", 0)])
def test_a_start_that_was_killed_before_the_folder_says_what_it_is_begins_again(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: object, name: str, calls: int
) -> None:
    with monkeypatch.context() as patch:
        stop_after(calls, patch, owner, name)
        with pytest.raises(Stopped):
            prepare(config)
    config.folder.joinpath("run.log").touch()
    assert (config.folder / "world").exists()
    assert not (config.folder / "config.toml").exists()
    prepare(config)
    whole, _ = prepare(replace(config, out=tmp_path / "whole"))
    for file in whole.world.iterdir():
        assert (config.folder / "world" / file.name).read_bytes() == file.read_bytes(), file.name
    (config.folder / "config.toml").rename(config.folder / "thesis.tex")
    with pytest.raises(UserError, match="is no run folder"):
        prepare(config)


def test_a_model_that_is_missing_is_written_by_the_command_that_the_error_names(config: Config) -> None:
    config = replace(config, methods="forward-ofa", epochs=1, sessions=1)
    run.main(config)
    (config.folder / "models" / "forward-ofa-0.safetensors").unlink()
    run.main(config)
    with pytest.raises(UserError, match=r"missing; python -m sim\.train with the options of the run"):
        own_network(config.folder, 0, None, None, None)
    train.main(config)
    assert own_network(config.folder, 0, None, None, None).method == "forward-ofa"


def test_a_second_run_trains_nothing_and_gives_the_same_rows(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.main(config)

    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(model_cache, "train", never)
    run.main(replace(config, out=tmp_path / "second"))
    assert config.out is not None
    pd.testing.assert_frame_equal(sessions(config.out), sessions(tmp_path / "second"), check_exact=True)
    monkeypatch.setattr(play, "play_wave", never)
    run.main(config)  # finished: analysed again, not replayed


def test_the_run_folder_keeps_its_models_when_the_cache_is_cleared(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_after(2, patch, RunFolder, "save_part")
        with pytest.raises(Stopped):
            run.main(config)
    shutil.rmtree(tmp_path / "cache")
    with monkeypatch.context() as patch:
        stop_after(0, patch, model_cache, "train")
        run.main(config)
    assert config.out is not None
    kept = sorted(path.read_bytes() for path in (config.out / "models").iterdir())
    assert sorted(path.read_bytes() for path in (tmp_path / "cache" / "models").iterdir()) == kept


def test_the_model_of_an_earlier_version_in_the_run_folder_is_replaced(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A student would else learn from it, and stand in the cache as the student of another one."""
    with monkeypatch.context() as patch:
        stop_after(1, patch, RunFolder, "save_part")
        with pytest.raises(Stopped):
            run.main(config)
    assert config.out is not None
    path = config.out / "models" / "devicerec-0.safetensors"
    right = path.read_bytes()
    path.unlink()  # it is one file with the cache's
    with monkeypatch.context() as patch:
        patch.setattr(model_cache, "model_key", lambda *args: "another")
        patch.setattr(model_cache, "derive", lambda *args: 7)
        folder, world = prepare(config)
        data = model_cache.training_set(world.interactions, world.streams, config)
        model_cache.train_model("devicerec", data, config, folder, 0)
    assert path.read_bytes() != right
    run.main(config)
    assert path.read_bytes() == right


def test_a_folder_of_another_configuration_is_left_alone(
    config: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(config)
    before = (config.folder / "config.toml").read_bytes()
    arguments = ["--dataset", config.dataset, "--devices", "5", "--out", str(config.folder)]
    assert call(arguments, monkeypatch) == 2
    assert "belongs to another configuration" in capsys.readouterr().err
    assert (config.folder / "config.toml").read_bytes() == before


def test_a_run_does_not_go_on_with_other_data_of_the_same_name(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``--data-dir`` holds is no part of a run's identity."""
    monkeypatch.setattr("sim.config.data_content", lambda dataset: {})  # as for a data set that has a name
    prepare(config)
    before = (config.folder / "config.toml").read_bytes()
    path = Path(config.dataset)
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(UserError, match=r"begun with other data \(interactions: .*choose another --out"):
        prepare(config)
    assert (config.folder / "config.toml").read_bytes() == before


def test_a_folder_that_is_no_run_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("precious")
    assert call(["--out", str(tmp_path / "home")], monkeypatch) == 2
    assert "no run folder" in capsys.readouterr().err
    assert [p.name for p in (tmp_path / "home").iterdir()] == ["thesis.tex"]


def test_an_interrupt_says_how_to_continue(
    config: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stop_after(2, monkeypatch, RunFolder, "save_part")
    arguments = ["--dataset", config.dataset, "--devices", "5", "--epochs", "1", "--blocks", "1", "--quiet"]
    assert call([*arguments, "--out", str(config.folder)], monkeypatch) == 130
    assert "the same command continues" in capsys.readouterr().err
