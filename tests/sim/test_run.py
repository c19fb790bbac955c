"""The main command from end to end on a small CSV file: files, accounting, rejecting, backends."""

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
from clients.upload import UploadForm
from models.checkpoint import load_device
from sim import play, run
from sim.backends.inprocess import InProcessGrid
from sim.backends.messaging import register
from sim.backends.population import Population
from sim.config import Config
from sim.experiment import prepare
from sim.play import Simulation, sessions_by_round
from sim.world.fleet import Fleet
from strategies.forward_ofa import ForwardOFA
from tests.support.runs import sessions, small_config

BUILD_REPORT = analysis.build_report
"""Runs here draw no figures, but for the test that restores this."""


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

    def leaky(path: np.ndarray, latent: np.ndarray, macs: int, form: UploadForm) -> dict[str, object]:
        records = honest(path, latent, macs, form)
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
    grid = ToldGrid(client_app, config.devices)
    nodes = register(grid, config.devices)
    device_sessions = sessions_by_round(world.streams, nodes, "all")
    strategy = ForwardOFA(folder.models / "forward-ofa-0.safetensors", device_sessions)
    digest, file = strategy.device_file(device_sessions[1][0])
    Population(grid, nodes, config.devices).install({digest: file}, None)
    grid.simulation, grid.strategy = Simulation(Fleet(world.streams, world.scenario, 0), 0), strategy
    result = strategy.start(grid, ArrayRecord(), num_rounds=len(device_sessions), train_config=ConfigRecord())
    rows = sessions(config.folder)
    for r, metrics in result.evaluate_metrics_clientapp.items():
        mine = rows[rows.session == r - 1]
        assert metrics["events"] == mine.events.sum()
        assert metrics["hits"] == mine.hits.sum()


@pytest.mark.xdist_group("network")
@pytest.mark.slow
def test_ray_and_in_process_give_the_same_rows(config: Config, tmp_path: Path) -> None:
    """With networks that are sent and networks that are trained, and devices that remember what they have asked for."""
    methods = "devicerec,finetune,forward-ofa"
    config = replace(config, methods=methods, policy="drift:0.1", compare_stale=True, sessions=3, epochs=1)
    run.main(config)
    run.main(replace(config, out=tmp_path / "ray", backend="ray"))
    rows = sessions(config.folder)
    pd.testing.assert_frame_equal(rows, sessions(tmp_path / "ray"))
    assert 0 < rows[rows.session > 0].adapted.mean() < 1


def test_counts_cost_a_device_the_same_whether_a_prediction_is_scored_or_not(tmp_path: Path, own_cache: None) -> None:
    """Where only unseen items are candidates, some sessions hold repeats alone: they are predicted all the same."""
    found = {}
    for candidates in ("all", "unseen"):
        config = small_config(
            tmp_path, devices=8, methods="cooccurrence", candidates=candidates, out=tmp_path / candidates
        )
        run.main(config)
        found[candidates] = sessions(config.folder)
    assert (found["unseen"].events == 0).any()
    assert (found["all"].macs > 0).all()
    pd.testing.assert_frame_equal(found["unseen"][["macs", "macs_session"]], found["all"][["macs", "macs_session"]])
