"""A fault of this program or of its engine stops the run with one line; after the mend the same command continues."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from flwr.app import Message
from flwr.server.superlink.linkstate.utils import create_message_error_unavailable_res_message

from clients import depot
from clients.app import app
from clients.device_batch import DeviceBatch
from clients.session import shared
from core.errors import UserError
from sim import experiment, play, run
from sim.backends.inprocess import InProcessGrid
from sim.config import Config
from sim.experiment import execute
from tests.support import untrained
from tests.support.runs import sessions, small_config

DEVICES = 12


@pytest.fixture(autouse=True)
def _quick(own_cache: None, monkeypatch: pytest.MonkeyPatch) -> None:
    untrained.install(monkeypatch)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return small_config(tmp_path, devices=DEVICES, epochs=1)


def unavailable(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network reports in place of the fourth device that it is unavailable for messages of this type."""
    deliver = InProcessGrid.send_and_receive

    def patchy(self: InProcessGrid, messages: list[Message], *, timeout: float | None = None) -> list[Message]:
        sent = list(messages)
        replies = deliver(self, sent)
        if sent and sent[0].metadata.message_type == kind:
            replies[3] = create_message_error_unavailable_res_message(sent[3].metadata, "node_unavail")
        return replies

    monkeypatch.setattr(InProcessGrid, "send_and_receive", patchy)


@pytest.mark.parametrize("kind", ["train", "evaluate"])
def test_a_device_that_the_engine_lost_stops_the_run_and_the_same_command_continues(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    config = replace(config, methods="forward-ofa", epochs=1, sessions=1)
    run.main(config)
    bad = replace(config, out=tmp_path / "bad")
    with monkeypatch.context() as patch:
        unavailable(kind, patch)
        with pytest.raises(
            UserError, match=r"1 of 12 devices .* Forward-OFA, device 3 .*session 0: lost: .*heartbeat.*run\.log"
        ) as stop:
            run.main(bad)
    assert "\n" not in str(stop.value)
    assert not list((tmp_path / "bad").glob("parts/*"))
    run.main(bad)
    pd.testing.assert_frame_equal(sessions(tmp_path / "bad"), sessions(config.folder))


@pytest.mark.parametrize("kind", ["train", "evaluate"])
def test_a_few_lost_devices_are_counted_and_cost_nobody_else_anything(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    config = replace(config, methods="forward-ofa", epochs=1, sessions=1)
    run.main(config)
    monkeypatch.setattr(play, "TOLERATED", 0.2)
    unavailable(kind, monkeypatch)
    run.main(replace(config, out=tmp_path / "bad"))
    rows, others = sessions(tmp_path / "bad"), sessions(config.folder)
    assert rows.status.tolist() == ["lost" if device == 3 else "ok" for device in range(DEVICES)]
    assert rows.served.tolist() == [device != 3 for device in range(DEVICES)]
    assert rows.requested.tolist() == [device != 3 or kind == "evaluate" for device in range(DEVICES)]
    assert (rows.loc[3, ["hits", "ndcg", "macs", "path"]] == 0).all()
    pd.testing.assert_frame_equal(rows.drop(3), others.drop(3))


@pytest.mark.parametrize("damage", ["missing", "truncated", "short"])
def test_a_stream_of_the_devices_own_that_is_damaged_during_the_run_is_no_fault_of_the_devices(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    """The file is that of all devices of the machine; undamaged it gives the rows that messages with streams give."""
    config = replace(config, methods="devicerec", sessions=1)
    run.main(replace(config, out=tmp_path / "told"))
    own = tmp_path / "own"
    shutil.copytree(tmp_path / "told" / "world", own)
    items, whole = own / "items.npy", (own / "items.npy").read_bytes()
    real: Callable[..., None] = experiment.play_all

    def play_all(*args: object) -> None:
        if damage == "missing":
            items.unlink()
        elif damage == "truncated":
            items.write_bytes(whole[:-40])
        else:
            np.save(items, np.load(items)[:-10])
        real(*args)

    def play() -> None:
        execute(config, InProcessGrid(app, config.devices, node_config={"stream": str(own)}))

    with monkeypatch.context() as patch:
        patch.setattr(experiment, "play_all", play_all)
        with pytest.raises(
            UserError, match=r"12 of 12 .* DeviceRec, device 0 .* session 0: failed: .*own stream.*items"
        ):
            play()
    assert not config.folder.joinpath("sessions.parquet").exists()
    items.write_bytes(whole)
    play()
    assert sessions(config.folder).equals(sessions(tmp_path / "told"))


def test_an_installed_file_that_is_damaged_during_the_run_is_installed_again(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(config, methods="devicerec", sessions=1)
    real = play.play_wave
    damaged = []

    def play_wave(*args: object) -> object:
        (path,) = (config.folder / "world" / "installed").glob("*.safetensors")
        path.write_bytes(path.read_bytes()[:-1])
        damaged.append(path)
        depot._model.cache_clear()
        return real(*args)  # type: ignore[arg-type]

    run.main(replace(config, out=tmp_path / "whole"))
    monkeypatch.setattr(play, "play_wave", play_wave)
    run.main(config)
    assert damaged
    assert sessions(config.folder).equals(sessions(tmp_path / "whole"))


def test_an_exception_of_our_code_on_a_device_is_one_line_and_status_2(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It meets one device, in its second session; the round before is kept, its own is not."""
    options = [
        "--dataset",
        config.dataset,
        "--devices",
        str(DEVICES),
        "--blocks",
        "2",
        "--context",
        "5",
        "--epochs",
        "1",
    ]
    options += ["--memory", "8", "--session-length", "4", "--sessions", "2", "--methods", "devicerec", "--quiet"]
    monkeypatch.setattr(sys, "argv", ["sim.run", *options, "--out", str(tmp_path / "out")])
    play_shared = shared.rerank

    def broken(batch: DeviceBatch) -> list[Message]:
        for device, told in zip(batch.devices, batch.configs, strict=True):
            if (device, told.session) == (7, 1):
                raise RuntimeError("no such layer\nin this network")
        return play_shared(batch)

    with monkeypatch.context() as patch:
        patch.setattr(shared, "rerank", broken)
        assert run.cli(run.main, "test") == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]  # warnings about the data come first
    assert said.startswith("error: 1 of ")
    for part in (
        "DeviceRec, device 7 (node ",
        "session 1: failed: RuntimeError: no such layer in this network",
        str(tmp_path / "out" / "run.log"),
    ):
        assert part in said
    assert [path.name for path in (tmp_path / "out" / "parts").iterdir()] == ["0-devicerec-00001.parquet"]
    log = (tmp_path / "out" / "run.log").read_text()
    assert "RuntimeError: no such layer" in log
    assert run.cli(run.main, "test") == 0
    assert (sessions(tmp_path / "out").status == "ok").all()
