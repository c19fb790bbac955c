"""Whole runs with each delivery: the same ranks, what is sent, what is computed where, and who has no room for it."""

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from flwr.app import Message

from clients.app import app
from core.errors import UserError
from models.metrics import hits, ranks
from replay import counterfactual
from replay.networks import own_network
from sim import model_cache
from sim.backends.inprocess import InProcessGrid
from sim.config import Config
from sim.experiment import execute
from tests.support import untrained
from tests.support.runs import own_cache, sessions, small_config

BLOCKS, HISTORY = 2, 8
CODE, FOLD = 64 * (3 * 16 + 320), 3 * 64 * 16 + 64 * 16 * 320
"""Multiply-accumulates of making the code of a block of SASRec, and of folding it in."""
STEP = 6 * 64 * 64
MAPPER = BLOCKS * (20_800 + 2 * 3 * 64 * 16 + 16 * 320 + 64 * 320)
"""Weights of the low-rank mapper."""
BASES = BLOCKS * (20_800 + 3 * 64 * 16 + 16 * 320)
SAME = ["device", "session", "method", "events", "hits", "hits_1", "hits_5", "hits_20", "ndcg", "mrr", "path", "macs"]
"""What does not depend on the delivery."""


def train(learner: Any, model: Any, *rest: Any, **more: Any) -> Any:
    """Stand in for training: a fresh low-rank mapper changes nothing, so that its changes are drawn."""
    generator = torch.Generator().manual_seed(5)
    mapper = getattr(model, "mapper", None)
    with torch.no_grad():
        for name in ("up", "shift"):
            for parameter in getattr(mapper, name, ()):
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return untrained.train(learner, model, *rest, **more)


class Noting(InProcessGrid):
    """Notes the records of every message, by type and direction."""

    def __init__(self, devices: int, folder: Path, batch: int) -> None:
        super().__init__(app, devices, batch=batch, node_config={"device-dir": str(folder)})
        self.records: dict[str, set[str]] = {}

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        sent = list(messages)
        for one in sent:
            self.records.setdefault(one.metadata.message_type, set()).update(one.content)
        return super().send_and_receive(sent, timeout=timeout)


class Runs:
    """Runs of one small data set, each played once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.play = cache(self._play)

    def _play(
        self, name: str, batch: int = 64, **options: Any
    ) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, set[str]]]:
        """Rows, ``coverage.csv`` and the records of the messages."""
        given = {"methods": "duet-plus,forward-ofa-plus", "devices": 9, "sessions": 3, "epochs": 1, **options}
        config = replace(small_config(self.folder, **given), out=self.folder / name).check().absolute()
        grid = Noting(config.devices, config.folder / "world", batch)
        execute(config, grid)
        return sessions(config.folder), pd.read_csv(config.folder / "coverage.csv"), grid.records


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterable[Runs]:
    folder = tmp_path_factory.mktemp("delivery")
    with pytest.MonkeyPatch.context() as patch:
        own_cache(folder, patch)
        patch.setattr(model_cache, "train", train)
        yield Runs(folder)


def test_a_code_of_32_bits_and_a_network_made_locally_rank_as_the_weights_do(runs: Runs) -> None:
    weights, _, told = runs.play("weights")
    code, _, coded = runs.play("code", delivery="code")
    local, _, alone = runs.play("local", delivery="local")
    for other in (code, local):
        pd.testing.assert_frame_equal(other[SAME], weights[SAME], rtol=1e-12)
    assert weights["path"].nunique() > 1
    assert weights[weights["method"] == "duet-plus"].groupby("device")["mrr"].sum().nunique() > 1
    assert "network" in told["evaluate"]
    assert "code" in coded["evaluate"]
    assert "network" not in coded["evaluate"]
    assert not {"train", "evaluate"} & set(alone)
    assert alone["evaluate.local"] <= {"model", "session", "stream", "budget", "evaluation"}


def test_what_is_sent_and_computed_by_hand(runs: Runs) -> None:
    weights, code, local = (runs.play(name, **({"delivery": name} if name != "weights" else {}))[0] for name in
                            ("weights", "code", "local"))  # fmt: skip
    shorter = runs.play("code8", delivery="code", code_bits=8)[0]
    blocks = weights["blocks"]
    assert (weights["bits_down"] == 8 + blocks * 32 * 20_800).all()
    for rows, each in ((code, 368 * 32), (shorter, 368 * 8 + 6 * 32)):
        assert (rows["bits_down"] == 8 + rows["blocks"] * each).all()
        assert (rows["bits_up"] == 8 + 64 * 32).all()
        assert (rows["macs_session"] - weights["macs_session"] == blocks * FOLD).all()
        assert (rows["joules"] < weights["joules"]).all()
        assert (rows["seconds_adapt"] < weights["seconds_adapt"]).all()
    assert (local["bits_down"] == 0).all()
    assert (local["bits_up"] == 0).all()
    assert not local["requested"].any()
    assert local["adapted"].all()
    # The extractors run in any case; now the mapper does, too.
    assert (local["macs_session"] - weights["macs_session"] == blocks * (CODE + FOLD)).all()
    tier_flops = (
        2 * (local["macs_session"] - local["macs"] * (local["events"] + local["repeats"])) / local["seconds_adapt"]
    )
    assert tier_flops.nunique() == 1 or tier_flops.std() < 1e-6 * tier_flops.mean()
    assert (local["joules"] < 1e-2 * weights["joules"]).all()


def test_what_is_installed_and_the_first_month_by_hand(runs: Runs) -> None:
    found = {
        name: runs.play(name, **options)[1].set_index("method")
        for name, options in {
            "weights": {}, "code": {"delivery": "code"}, "code8": {"delivery": "code", "code_bits": 8},
            "local": {"delivery": "local"},
        }.items()
    }  # fmt: skip
    bits = {name: table["bits_installed"] for name, table in found.items()}
    for method in ("duet-plus", "forward-ofa-plus"):
        assert bits["code"][method] - bits["weights"][method] == 32 * BASES
        assert bits["code8"][method] == bits["code"][method]
        assert bits["local"][method] - bits["weights"][method] == 32 * MAPPER
    rows, coverage, _ = runs.play("local", delivery="local")
    month = coverage.set_index("method").loc["duet-plus"]
    mine = rows[rows["method"] == "duet-plus"]
    assert month["month_sessions"] == pytest.approx(len(mine) / 9)  # all sessions are of one day
    assert month["month_bits"] == month["bits_installed"]
    assert month["month_joules"] > mine["joules"].sum() / 9
    assert found["weights"].loc["duet-plus", "month_bits"] == pytest.approx(
        bits["weights"]["duet-plus"] + len(mine) / 9 * (16 + 64 * 32 + 2 * 32 * 20_800)
    )


def test_a_batch_of_devices_makes_what_each_makes_alone(runs: Runs) -> None:
    for name, options in {"code8": {"delivery": "code", "code_bits": 8}, "local": {"delivery": "local"}}.items():
        together = runs.play(name, **options)[0]
        alone = runs.play(f"{name}-alone", batch=1, **options)[0]
        pd.testing.assert_frame_equal(alone, together, rtol=1e-9)


def test_by_its_policy_a_device_makes_its_network_as_often_as_it_would_ask(runs: Runs) -> None:
    asks = {"policy": "drift", "request_rate": 0.5, "compare_stale": True, "methods": "forward-ofa-plus"}
    weights, code, local = (
        runs.play(f"{name}-drift", delivery=name, **asks)[0] for name in ("weights", "code", "local")
    )
    assert 0 < weights[weights["session"] > 0]["adapted"].mean() < 1
    compared = [*SAME, "adapted", "hits_stale", "ndcg_stale", "hits_fresh", "ndcg_fresh"]
    for other in (code, local):
        pd.testing.assert_frame_equal(other[compared], weights[compared], rtol=1e-12)
    extra = local["macs_session"] - weights["macs_session"]
    assert (extra == (CODE + FOLD) * weights["blocks"] * weights["adapted"]).all()
    assert (code["macs_session"] - weights["macs_session"] == FOLD * weights["blocks"] * weights["adapted"]).all()
    assert not local["requested"].any()


def test_a_device_without_room_for_the_mapper_is_not_served(runs: Runs) -> None:
    """There is room for the network and for all of the mapper but one number."""
    mix = runs.folder / "small.toml"
    mbyte = 4 * (MAPPER + BLOCKS * 20_800 - 1) / 1e6
    mix.write_text(f'base = "paper-device"\n[budget]\nmodel_mbyte = {mbyte!r}\n', encoding="utf-8")
    rows, _, _ = runs.play("small", delivery="local", scenario=str(mix))
    served = rows.groupby("method")["served"].agg(["all", "any"])
    assert served.loc["duet-plus"].tolist() == [False, False]
    assert rows.loc[~rows["served"], "macs_session"].sum() == 0
    assert served.loc["forward-ofa-plus", "all"]  # with one block less
    assert rows.loc[rows["served"], "blocks"].max() == BLOCKS - 1


def test_a_full_rank_mapper_can_be_installed_and_the_ablations_keep_their_choice(runs: Runs) -> None:
    methods = "duet,forward-ofa-first,devicerec"
    weights, local = (runs.play(f"{name}-full", delivery=name, methods=methods)[0] for name in ("weights", "local"))
    pd.testing.assert_frame_equal(local[SAME], weights[SAME], rtol=1e-12)
    heads = 64 * 20_800
    own = weights["method"] != "devicerec"
    assert (local["macs_session"] - weights["macs_session"] == own * weights["blocks"] * heads).all()
    assert set(runs.play("local-full", delivery="local", methods=methods)[2]) >= {"evaluate.local_first", "evaluate"}
    pd.testing.assert_frame_equal(local[~own], weights[~own])  # nothing is delivered to DeviceRec


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (
            {"methods": "devicerec,duet", "delivery": "code"},
            "--delivery code: the mapper of 'duet' has no code that is smaller than a latent interest; methods that "
            "allow it: duet-plus, ",
        ),
        (
            {"methods": "diet", "delivery": "local"},
            "'diet' sends choices in place of weights; methods that",
        ),
        ({"delivery": "code", "code_bits": 4}, "--code-bits is 4; it must be 32, 16 or 8"),
        ({"delivery": "pigeon"}, "pigeon"),
    ],
)
def test_what_cannot_be_delivered_is_refused_in_one_line(options: dict[str, Any], why: str) -> None:
    with pytest.raises(UserError) as error:
        Config(**options).check()
    assert why in str(error.value)
    assert "\n" not in str(error.value)


def test_a_finished_run_is_played_again_with_the_codes_that_were_sent(runs: Runs) -> None:
    """Own networks are those that devices made, rounded codes included; exact ones would rank otherwise."""
    found = {}
    for name, options in {"code8": {"delivery": "code", "code_bits": 8}, "local": {"delivery": "local"}}.items():
        rows = runs.play(name, **options)[0]
        mine = rows[rows["method"] == "forward-ofa-plus"].set_index(["device", "session"]).sort_index()
        again = counterfactual.replay(runs.folder / name, "forward-ofa-plus", 0)
        own = again[again["network"] == "own"].set_index(["device", "session"]).sort_index()
        assert own["path"].tolist() == mine["path"].tolist()
        pd.testing.assert_series_equal(own["ndcg"], mine["ndcg"], check_names=False, rtol=1e-9)
        network = own_network(runs.folder / name, 3, None, "forward-ofa-plus", None)
        _, wanted, _ = network.events.predictions()
        scores = torch.cat([network.assembled(window) for window in network.windows.split(1)])
        assert int(hits(ranks(scores, wanted)).sum()) == network.hits
        found[name] = network.assembled.state_dict()
    exact = {key: value for key, value in found["local"].items() if "block" in key}
    apart = max(float((found["code8"][key] - value).abs().max() / value.abs().max()) for key, value in exact.items())
    assert 0 < apart < 0.05
