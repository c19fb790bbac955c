"""Whole runs with damaged files, full disks and company: equal rows, or one line and exit status 2."""

import errno
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from core import locks
from core.run_folder import RunFolder
from models.checkpoint import check_model
from sim import model_cache, run, trainings
from sim.config import Config
from sim.play import RowMaker
from strategies.training import loop
from tests.support.runs import Stopped, sessions, small_config, stop_after


@pytest.fixture
def config(tmp_path: Path, own_cache: None) -> Config:
    return small_config(
        tmp_path, devices=6, methods="duet", blocks=1, context=4, memory=6, sessions=3, policy="every:2"
    )


def flip(path: Path, end: int = 40) -> None:
    content = bytearray(path.read_bytes())
    content[-end] ^= 1
    path.unlink()  # a model in the cache may be the same file
    path.write_bytes(content)


def stopped(config: Config, monkeypatch: pytest.MonkeyPatch, calls: int, owner: object, name: str) -> None:
    with monkeypatch.context() as patch:
        stop_after(calls, patch, owner, name)
        with pytest.raises(Stopped):
            run.main(config)


def only_error(capsys: pytest.CaptureFixture[str]) -> str:
    """The line of the error, which comes last and is one line."""
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("warning: ")]
    assert len(lines) == 1, lines
    return lines[0]


def command(config: Config, monkeypatch: pytest.MonkeyPatch) -> int:
    """The same run from the command line; its exit status."""
    words = [f"--{key}={value}" for key, value in config.to_flat().items() if not isinstance(value, bool)]
    monkeypatch.setattr(sys, "argv", ["sim.run", *words, "--quiet"])
    return run.cli(run.main, "test")


def test_damaged_models_checkpoints_and_parts_are_made_again_and_the_rows_are_the_same(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped(config, monkeypatch, 1, loop, "validate")
    (checkpoint,) = (tmp_path / "cache" / "models").glob("*.checkpoint")
    flip(checkpoint)
    capsys.readouterr()
    stopped(config, monkeypatch, 2, RunFolder, "save_part")
    assert "training starts again with the first epoch" in capsys.readouterr().err.replace("\n", " ")
    (cached,) = (tmp_path / "cache" / "models").iterdir()
    for path in (cached, config.folder / "models" / "duet-0.safetensors"):
        flip(path)
    flip(RunFolder(config.folder).part(0, "duet", 1), 600)
    run.main(config)
    said = capsys.readouterr().err
    assert said.count("is damaged: ") == 3
    assert "all rounds of duet are played again" in said
    check_model(cached, method="duet", seed=0)

    whole = replace(config, out=tmp_path / "whole")
    monkeypatch.setenv("SIM_CACHE_DIR", str(tmp_path / "another cache"))
    run.main(whole)
    assert sessions(config.folder).equals(sessions(whole.folder))


def test_another_seeds_model_under_a_cached_name_is_not_used(
    config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run.main(config)
    (cached,) = (tmp_path / "cache" / "models").iterdir()
    other = replace(config, seed=1, out=tmp_path / "other")
    run.main(other)
    shutil.copyfile(other.folder / "models" / "duet-1.safetensors", tmp_path / "copy")
    cached.unlink()
    shutil.move(tmp_path / "copy", cached)
    again = replace(config, out=tmp_path / "again")
    run.main(again)
    assert f"{cached.name} is not the right file: its key is" in capsys.readouterr().err.replace("\n", "")
    assert sessions(again.folder).equals(sessions(config.folder))


@pytest.mark.parametrize("victim", ["network", "missing"])
def test_what_a_device_remembers_is_made_again_if_it_is_damaged(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, victim: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped(config, monkeypatch, 1, RunFolder, "save_part")
    network = min((config.folder / "world" / "devices").rglob("network-0.safetensors"))
    if victim == "network":
        flip(network)
    else:
        network.unlink()
    run.main(config)
    assert "all rounds of duet are played again" in capsys.readouterr().err
    whole = replace(config, out=tmp_path / "whole")
    run.main(whole)
    assert sessions(config.folder).equals(sessions(whole.folder))


def test_a_damaged_world_is_refused_by_one_line_whose_fix_works(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped(config, monkeypatch, 1, RunFolder, "save_part")
    items = config.folder / "world" / "items.npy"
    whole_items = items.read_bytes()
    for content in (b"", whole_items[:-4], whole_items[:-1] + b"\1"):
        items.unlink()  # this process has mapped it into memory
        items.write_bytes(content)
        assert command(config, monkeypatch) == 2
        line = only_error(capsys)
        assert line.startswith(f"error: {items} is damaged: ")
        assert "delete the folder and start the run's command again" in line
    shutil.rmtree(config.folder / "world")
    assert command(config, monkeypatch) == 0
    whole = replace(config, out=tmp_path / "whole")
    run.main(whole)
    assert sessions(config.folder).equals(sessions(whole.folder))


@pytest.mark.parametrize("place", ["cache", "run"])
def test_a_full_disk_is_one_line_leaves_no_temporary_and_the_same_command_goes_on(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    """The disk is full when the first model, or the first rows of a round, are written."""
    write, full = os.write, [False]

    def refused(descriptor: int, content: memoryview) -> int:
        if full[0]:
            write(descriptor, content[:10])  # a part of it still fits
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, content)

    def from_now_on(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def called(*args: object, **kwargs: object) -> object:
            result = real(*args, **kwargs)
            full[0] = True
            return result

        return called

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", refused)
        owner, name = (loop, "validate") if place == "cache" else (RowMaker, "__call__")
        patch.setattr(owner, name, from_now_on(name, getattr(owner, name)))
        assert command(config, patch) == 2
    line = only_error(capsys)
    assert line.startswith(f"error: {tmp_path / place}")
    assert "there is no space left on that disk; free some or name another folder" in line
    assert not list(tmp_path.rglob("*.part"))
    full[0] = False
    assert command(config, monkeypatch) == 0
    whole = replace(config, out=tmp_path / "whole")
    run.main(whole)
    assert sessions(config.folder).equals(sessions(whole.folder))


@pytest.mark.parametrize("name", ["parts", "models", "world"])
def test_a_file_where_a_folder_of_the_run_should_be_is_named(
    config: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    stopped(config, monkeypatch, 0, trainings, "train_model")
    shutil.rmtree(config.folder / name, ignore_errors=True)
    (config.folder / name).write_text("a file")
    assert command(config, monkeypatch) == 2
    line = only_error(capsys)
    assert str(config.folder / name) in line


def test_a_cache_that_is_a_file_is_named_before_anything_is_trained(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cache").write_text("a file")
    monkeypatch.setattr(model_cache, "train", lambda *args, **kwargs: pytest.fail("trained"))
    assert command(config, monkeypatch) == 2
    line = only_error(capsys)
    assert f"{tmp_path / 'cache'} is a file; rename that or name another folder" in line


def test_without_a_home_folder_the_variables_to_set_are_named(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SIM_CACHE_DIR")
    monkeypatch.setattr("sim.data.files.pooch.os_cache", lambda name: Path("~") / ".cache" / name)
    assert command(config, monkeypatch) == 2
    line = only_error(capsys)
    assert "set $HOME, or $SIM_CACHE_DIR and $SIM_DATA_DIR" in line


def test_a_run_that_another_process_plays_is_left_alone(
    config: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped(config, monkeypatch, 1, RunFolder, "save_part")
    before = sorted(path for path in config.folder.rglob("*") if path.name != locks.HOLDER)
    with locks.held(config.folder):
        monkeypatch.delenv("SIM_HELD_FOLDER")  # as in a process that the holder did not start
        assert command(config, monkeypatch) == 2
        line = only_error(capsys)
        assert line.startswith(f"error: {config.folder} is in use by process {os.getpid()} on ")
    assert sorted(config.folder.rglob("*")) == before
    assert command(config, monkeypatch) == 0
