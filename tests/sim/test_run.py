"""The main command from end to end on a small CSV file: files, accounting, resuming, rejecting, bad input."""

import os
import shutil
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Message
from safetensors.torch import load_file

import analysis
from clients import request
from clients.app import app as client_app
from core.errors import UserError
from core.run_folder import RunFolder
from models.checkpoint import load_device
from replay.networks import own_network
from sim import model_cache, play, run, train
from sim.backends.inprocess import InProcessGrid
from sim.backends.messaging import register
from sim.backends.population import Population
from sim.config import Config
from sim.experiment import prepare
from sim.play import Simulation, sessions_by_round
from sim.world.fleet import Fleet
from strategies.forward_ofa import ForwardOFA
from strategies.training import loop
from tests.support.runs import Stopped, sessions, stop_after, without_report, write_csv

DEVICES = 12
BUILD_REPORT = analysis.build_report


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no figures, which take longer than so small a run; who needs them restores :data:`BUILD_REPORT`."""
    monkeypatch.setenv("SIM_CACHE_DIR", str(tmp_path / "cache"))
    without_report(monkeypatch)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(
        references="none",
        candidates="all",
        dataset=str(write_csv(tmp_path / "tiny.csv")),
        devices=DEVICES,
        blocks=2,
        context=5,
        memory=8,
        epochs=2,
        session_length=4,
        quiet=True,
        out=tmp_path / "run",
    ).absolute()


def test_a_trained_model_does_not_depend_on_what_was_trained_before_it(
    config: Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = []
    for methods in ("devicerec,forward-ofa", "forward-ofa"):
        monkeypatch.setenv("SIM_CACHE_DIR", str(tmp_path / f"cache-{methods}"))
        torch.manual_seed(len(methods))  # what a model that was trained before would have left
        out = tmp_path / f"run-{methods}"
        run.main(replace(config, methods=methods, epochs=1, out=out))
        found.append(load_file(out / "models" / "forward-ofa-0.safetensors"))
    for name, weights in found[0].items():
        assert torch.equal(weights, found[1][name]), name


def test_every_device_session_is_accounted_for_by_every_method(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analysis, "build_report", BUILD_REPORT)
    run.main(config)
    assert config.out is not None
    for name in ("config.toml", "summary.csv", "training.csv", "report.html", "figures/block_usage.png"):
        assert (config.out / name).stat().st_size > 100, name
    rows = sessions(config.out)
    _, world = prepare(config)
    streams = world.streams
    expected = {
        (int(d), int(s)): int(e)
        for d, s, e in zip(
            streams.session_devices,
            np.arange(streams.num_sessions) - streams.session_offsets[streams.session_devices],
            streams.session_ends - streams.session_starts,
            strict=True,
        )
    }
    assert sum(expected.values()) == streams.num_events
    for method in config.method_names:
        mine = rows[rows.method == method]
        played = {(d, s): e for d, s, e in zip(mine.device, mine.session, mine.events, strict=True)}
        assert played == expected, method
    assert not (config.out / "parts").exists()
    assert sorted(p.name for p in (config.out / "models").iterdir()) == [
        "devicerec-0.safetensors",
        "duet-0.safetensors",
        "forward-ofa-0.safetensors",
    ]


def test_bits_and_macs_follow_the_path(config: Config) -> None:
    run.main(replace(config, methods="devicerec,duet,forward-ofa"))
    assert config.out is not None
    rows = sessions(config.out)
    adaptive = rows[rows.method != "devicerec"]
    assert (adaptive.bits_down == adaptive.blocks * 20_800 * 32 + 8).all()
    assert (adaptive.bits_up == 64 * 32 + 8).all()
    assert (adaptive.blocks == adaptive.path.map(lambda p: int(p).bit_count())).all()
    assert (rows.param_bits == rows.blocks * 20_800 * 32).all()
    items = tomllib.loads((config.out / "config.toml").read_text())["data"]["items"]
    assert (rows.macs == rows.blocks * (5 * 5 * 4096 + 2 * 25 * 64) + items * 64).all()
    static = rows[rows.method == "devicerec"]
    assert (static.blocks == 2).all()
    assert not static.requested.any()
    assert (static[["bits_up", "bits_down"]] == 0).all().all()
    assert (rows[rows.method == "duet"].path == 0b11).all()
    # Every history has the 8 items that a GRU reads; of two, the controller's also has a layer of 64 x 2.
    once = rows.method.map({"devicerec": 0, "duet": 8 * 6 * 4096, "forward-ofa": 2 * 8 * 6 * 4096 + 128})
    assert (rows.macs_session == rows.events * rows.macs + once).all()


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


def test_the_size_of_a_wave_and_of_a_batch_changes_nothing(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.main(config)
    monkeypatch.setattr(play, "WAVE", 1)
    alone = replace(config, out=tmp_path / "alone")
    run.main(alone)
    assert config.out is not None
    pd.testing.assert_frame_equal(sessions(config.out), sessions(tmp_path / "alone"))


def test_a_device_that_breaks_the_protocol_costs_its_own_session_only(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(config, methods="forward-ofa")
    run.main(config)
    honest = request.pack_request

    def leaky(path: np.ndarray, latent: np.ndarray, macs: int) -> dict[str, object]:
        records = honest(path, latent, macs)
        if macs == leaky.victim:  # type: ignore[attr-defined]
            request = records["request"]
            assert isinstance(request, ArrayRecord)
            request["history"] = Array(np.arange(5))
        return records

    part = load_device(next((config.folder / "models").iterdir())).part
    leaky.victim = part.request_macs(8)  # type: ignore[attr-defined]
    monkeypatch.setattr(request, "pack_request", leaky)
    bad = replace(config, out=tmp_path / "bad")
    run.main(bad)
    rows, others = sessions(tmp_path / "bad"), sessions(config.folder)
    caught = ~rows.requested
    assert caught.sum() > 0
    assert (rows.events == others.events).all()
    assert (rows[caught].blocks == 0).all()
    assert not rows[caught].served.any()
    assert (rows[caught].bits_down == 0).all()
    pd.testing.assert_frame_equal(rows[~caught], others[~caught])
    assert "message rejected" in (tmp_path / "bad" / "run.log").read_text()


class ToldGrid(InProcessGrid):
    """Adds to each message what the simulation tells its device, as the play loop does."""

    simulation: Simulation
    strategy: ForwardOFA

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        sent = list(messages)
        for message in sent:
            if not message.metadata.message_type.startswith("query"):
                one = self.strategy.open[message.metadata.dst_node_id].device_session
                message.content.update(self.simulation.config(one).records())
        return super().send_and_receive(sent)


def test_flowers_own_loop_plays_the_same_sessions(config: Config) -> None:
    config = replace(config, methods="forward-ofa")
    run.main(config)
    folder, world = prepare(config)
    grid = ToldGrid(client_app, DEVICES)
    nodes = register(grid, DEVICES)
    device_sessions = sessions_by_round(world.streams, nodes, "all")
    strategy = ForwardOFA(folder.models / "forward-ofa-0.safetensors", device_sessions)
    digest, file = strategy.device_file(device_sessions[1][0])
    Population(grid, nodes, DEVICES).install({digest: file}, None)
    grid.simulation, grid.strategy = Simulation(Fleet(world.streams, world.scenario, 0), 0), strategy
    result = strategy.start(grid, ArrayRecord(), num_rounds=len(device_sessions), train_config=ConfigRecord())
    rows = sessions(config.folder)
    for r, metrics in result.evaluate_metrics_clientapp.items():
        mine = rows[rows.session == r - 1]
        assert metrics["events"] == mine.events.sum()
        assert metrics["hits"] == mine.hits.sum()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_ray_and_in_process_give_the_same_rows(config: Config, tmp_path: Path) -> None:
    """With networks that are sent and networks that are trained, and devices that remember what they have asked for."""
    methods = "devicerec,finetune,forward-ofa"
    config = replace(config, methods=methods, policy="drift:0.1", compare_stale=True, sessions=3, epochs=1)
    run.main(config)
    run.main(replace(config, out=tmp_path / "ray", backend="ray"))
    rows = sessions(config.folder)
    pd.testing.assert_frame_equal(rows, sessions(tmp_path / "ray"))
    assert 0 < rows[rows.session > 0].adapted.mean() < 1


def call(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["sim.run", *arguments])
    return run.cli(run.main, "test")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--dataset", "ml2m"], "unknown dataset"),
        (["--methods", "fedavg"], "unknown method 'fedavg'"),
        (["--drift", "earthquake"], "unknown drift"),
        (["--dataset", "missing.csv"], "missing.csv"),
        (["--devices", "100000"], "only"),
        (["--context", "0"], "--context is 0"),
        (["--session-length", "0"], "--session-length is 0"),
        (["--scenario", "moon"], "unknown scenario"),
        (["--penalty", "nan"], "--penalty is nan"),
        (["--learning-rate", "inf"], "--learning-rate is inf"),
        (["--session-gap", "nan"], "--session-gap is nan"),
        (["--policy", "oracle:inf"], "finite number"),
    ],
)
def test_bad_input_is_one_line_exit_2_and_nothing_half_written(
    arguments: list[str],
    why: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call([*arguments, "--out", str(tmp_path / "out")], monkeypatch) == 2
    error = capsys.readouterr().err
    assert why in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_an_option_with_few_values_names_them_and_ends_with_exit_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        call(["--backbone", "gru4rec"], monkeypatch)
    assert end.value.code == 2
    assert "nextitnet" in capsys.readouterr().err


def test_a_training_that_diverges_ends_the_run_and_leaves_no_model(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--devices", "5", "--blocks", "1", "--context", "5", "--epochs", "2", "--quiet", "--methods", "devicerec"]
    small += ["--references", "none"]
    arguments = ["--dataset", config.dataset, *small, "--out", str(tmp_path / "out"), "--learning-rate", "1e30"]
    for _ in range(2):  # what the first start leaves, the second does not continue from
        assert call(arguments, monkeypatch) == 2
        said = capsys.readouterr().err.strip().splitlines()
        (error,) = [line for line in said if not line.startswith("warning: ")]  # what the data say comes before
        assert error.startswith("error: ")
        for part in ("DeviceRec", "epoch 1", "learning rate of 1e+30", "try --learning-rate 0.005"):
            assert part in error
        assert list((tmp_path / "cache" / "models").glob("*")) == []
        assert not (tmp_path / "out" / "sessions.parquet").exists()
        assert not (tmp_path / "out" / "models").exists()


@pytest.mark.parametrize(
    ("events", "items", "options", "why"),
    [
        (3, 9, ["--protocol", "paper"], "nothing to train on"),
        (3, 9, ["--protocol", "paper", "--cloud-users", "all"], "nothing to train on"),
        (12, 1, [], "1 item: there is nothing to rank"),
    ],
)
def test_data_that_teach_nothing_are_one_line_and_no_run(
    events: int,
    items: int,
    options: list[str],
    why: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [(f"u{user}", f"i{(user + step) % items}", 10**9 + step) for user in range(6) for step in range(events)]
    pd.DataFrame(rows, columns=["user", "item", "timestamp"]).to_csv(tmp_path / "few.csv", index=False)
    arguments = ["--dataset", str(tmp_path / "few.csv"), "--devices", "4", "--out", str(tmp_path / "out"), *options]
    assert call(arguments, monkeypatch) == 2
    error = capsys.readouterr().err
    assert why in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


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
