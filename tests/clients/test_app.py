"""The devices' handlers, driven with messages made by hand: what is answered, number by number, and that it does not
matter how many devices are asked in one call."""

from collections.abc import Callable
from dataclasses import replace
from math import log2
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord

from clients import local_training
from clients.app import app
from clients.budget import BUDGET, Budget
from clients.decision import POLICY, PolicyConfig
from clients.messages import (
    MEASURED,
    NETWORK,
    PROBE,
    REQUEST,
    DeviceRequest,
    RequestRules,
    pack_network,
    read_measured,
    read_request,
)
from models.checkpoint import Sizes
from models.cloud_models import StaticModel
from tests.support import handmade
from tests.support.seam import BLOCK, Told, adaptive_model, context, order, save, state_name, static_model, write_world

ITEMS, CONTEXT, HISTORY = 24, 4, 5
GROUPS = np.array([0, *[0] * 12, *[1] * 12])
"""Items 1 to 12 are of group 0, the others of group 1; of a group the last item is recommended first."""
STEP = 6 * 64 * 64
"""Multiply-accumulates of a GRU that reads one item: three gates of two products."""
RUN = CONTEXT * 5 * 64 * 64 + 2 * CONTEXT**2 * 64
"""Of one block of SASRec on one window."""
SCORE = ITEMS * 64

TARGETS = [11, 10, 24]
"""The events of the sessions whose quality is worked out here: to a network of group 0 they are at places 2, 3 and
beyond 12; to one of group 1 beyond 12, beyond 12 and 1; by popularity, which is the order of their numbers, 11, 10
and 24."""
GROUP_0 = {"hits": 2, "ndcg": 1 / log2(3) + 1 / log2(4)}
GROUP_1 = {"hits": 1, "ndcg": 1.0}
POPULAR = {"hits": 1, "ndcg": 1 / log2(11)}

Play = Callable[..., dict[str, float]]
RULES = RequestRules(1, probes=True)


def path_of(bits: int, blocks: int) -> np.ndarray:
    return np.array([bits >> k & 1 for k in range(blocks)], dtype=bool)


def network(group: int) -> ArrayRecord:
    """A network of one block that recommends a group: the bias of its last layer decides."""
    return pack_network(path_of(1, 1), {0: weights(group)})


def weights(group: int) -> np.ndarray:
    out = np.zeros(BLOCK, dtype=np.float32)
    out[BLOCK - 64 + group] = 1000
    return out


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The devices' disks, and the models that may be installed on them."""
    path = tmp_path_factory.mktemp("devices")
    write_world(
        path / "world",
        [
            [1, 2, 13, 14, 3, 7, *TARGETS, *TARGETS, *TARGETS],
            [1, 14, 2, *TARGETS, *TARGETS],
        ],
        [[6, 9, 12], [3, 6]],
    )
    sizes = {"items": ITEMS, "context": CONTEXT, "history": HISTORY}
    by_hand = handmade.model(GROUPS, np.arange(ITEMS + 1), Sizes("sasrec", ITEMS, 1, CONTEXT), keep=0.0)
    save(path / "duet", by_hand, blocks=1, **sizes)
    shared = StaticModel(by_hand.device_part.backbone, torch.Generator())
    shared.network[0][0].data.copy_(torch.from_numpy(weights(1)))
    shared.device_part.popularity.copy_(torch.arange(ITEMS + 1))
    save(path / "shared", shared, blocks=1, **sizes)
    return path


@pytest.fixture
def config(folder: Path) -> Told:
    return Told(folder / "world", folder / "duet", 0, CONTEXT, HISTORY, seed=7)


def call(message: Message, device: int = 0) -> Message:
    reply = app(message, context(device))
    assert not reply.has_error()
    return reply


def played(message: Message, device: int = 0) -> dict[str, float]:
    reply = call(message, device)
    return read_measured(reply, compared="hits_stale" in reply.content.metric_records[MEASURED])


def quality(found: dict[str, float]) -> dict[str, float]:
    return {name: found[name] for name in ("hits", "ndcg")}


def policy(name: str, folder: Path, compare: bool = False) -> ConfigRecord:
    return PolicyConfig(name, state_name(folder), draw=0.5, switch=-1, compare=compare).record()


# -- step 1: asking ----------------------------------------------------------------------------------------------------


def test_a_node_says_which_device_it_is(config: Told) -> None:
    reply = call(order(config, "query.register"), device=41)
    assert reply.content["device"] == MetricRecord({"partition": 41})


@pytest.mark.parametrize(("device", "session", "group", "items"), [(0, 0, 0, 5), (1, 0, 0, 3), (1, 1, 1, 5)])
def test_a_request_holds_path_and_interest_and_what_they_took(
    config: Told, device: int, session: int, group: int, items: int
) -> None:
    """The interest of the model made by hand lies at the group of the last item; it reads five items at most."""
    reply = call(order(replace(config, session=session), "train", device), device)
    assert set(reply.content) == {REQUEST, MEASURED}
    asked = read_request(reply, RULES)
    assert isinstance(asked, DeviceRequest)
    assert asked.path.tolist() == [True]
    assert int(asked.latent.argmax()) == group
    assert (asked.macs, asked.bits, asked.probe) == (items * STEP, 64 * 32 + 8, False)


@pytest.mark.parametrize(
    ("budget", "asks"),
    [
        (Budget(update_bits=BLOCK * 32), True),
        (Budget(update_bits=BLOCK * 32 - 1), False),
        (Budget(model_bits=BLOCK * 32), True),
        (Budget(model_bits=BLOCK * 32 - 1), False),
        (Budget(macs=RUN + SCORE), True),
        (Budget(macs=RUN + SCORE - 1), False),
        (Budget(joules=3 * (RUN + SCORE) + 5 * STEP, predictions=3, joules_per_mac=1), True),
        (Budget(joules=3 * (RUN + SCORE) + 5 * STEP - 1, predictions=3, joules_per_mac=1), False),
    ],
)
def test_a_device_asks_for_what_it_can_afford_to_the_last_unit(config: Told, budget: Budget, asks: bool) -> None:
    reply = call(order(config, "train", **{BUDGET: budget.record()}))
    assert isinstance(read_request(reply, RULES), DeviceRequest) == asks
    if not asks:
        assert reply.content == {MEASURED: MetricRecord({"macs": 0})}


def test_a_policy_decides_after_the_first_session_and_its_decision_costs(config: Told, tmp_path: Path) -> None:
    def ask(session: int, name: str, compare: bool = False) -> Message:
        record = policy(name, tmp_path / name, compare)
        return call(order(replace(config, session=session), "train", **{POLICY: record}))

    for name in ("never", "drift:2"):
        first = read_request(ask(0, name), RULES)
        assert isinstance(first, DeviceRequest)  # a device without a network asks whatever its policy is
        assert (first.macs, first.probe) == (5 * STEP, False)
        call(order(config, "evaluate", **{POLICY: policy(name, tmp_path / name), NETWORK: network(0)}))
    assert ask(1, "never").content == {MEASURED: MetricRecord({"macs": 0})}
    assert ask(1, "drift:2").content == {MEASURED: MetricRecord({"macs": 5 * STEP})}  # it had to look at itself
    probed = ask(1, "never", compare=True)
    probe = read_request(probed, RULES)
    assert isinstance(probe, DeviceRequest)
    assert (probe.probe, probe.macs) == (True, 0)
    assert probed.content[MEASURED] == MetricRecord({"macs": 0, PROBE: 1})


# -- step 3: playing with a network of one's own -----------------------------------------------------------------------


@pytest.mark.parametrize(("group", "expected"), [(0, GROUP_0), (1, GROUP_1)])
def test_a_session_is_played_with_the_network_that_was_sent(
    config: Told, group: int, expected: dict[str, float]
) -> None:
    found = played(order(config, "evaluate", **{NETWORK: network(group)}))
    assert quality(found) == pytest.approx(expected)
    assert (found["events"], found["served"], found["path"]) == (3, 1, 1)
    assert found["macs"] == RUN + SCORE
    assert found["param_bits"] == BLOCK * 32
    assert (found["macs_adapt"], found["macs_decide"]) == (0, 0)


@pytest.mark.parametrize("sent", [True, False])
def test_without_a_network_it_can_run_a_device_ranks_by_popularity(config: Told, sent: bool) -> None:
    records: dict[str, ArrayRecord | ConfigRecord] = {}
    if sent:
        records = {NETWORK: network(0), BUDGET: Budget(macs=RUN + SCORE - 1).record()}
    found = played(order(config, "evaluate", **records))
    assert quality(found) == pytest.approx(POPULAR)
    assert found["events"] == 3
    assert [found[name] for name in ("served", "macs", "macs_paper", "param_bits", "path")] == [0, 0, 0, 0, 0]


def test_a_device_that_asks_nothing_plays_with_the_network_it_has(config: Told, tmp_path: Path) -> None:
    record = {POLICY: policy("never", tmp_path)}
    second = replace(config, session=1)
    call(order(config, "train", **record))
    assert quality(played(order(config, "evaluate", **record, **{NETWORK: network(0)}))) == pytest.approx(GROUP_0)
    call(order(second, "train", **record))
    found = played(order(second, "evaluate", **record))
    assert quality(found) == pytest.approx(GROUP_0)
    assert found["served"] == 1
    call(order(config, "train", **record))  # the round was killed and begins again: nothing is remembered yet
    assert quality(played(order(config, "evaluate", **record))) == pytest.approx(POPULAR)


@pytest.mark.parametrize(("name", "plays"), [("never", GROUP_0), ("always", GROUP_1)])
def test_a_comparison_measures_the_old_and_the_new_network_whatever_is_played(
    config: Told, tmp_path: Path, name: str, plays: dict[str, float]
) -> None:
    record = {POLICY: policy(name, tmp_path, compare=True)}
    second = replace(config, session=1)
    call(order(config, "train", **record))
    first = played(order(config, "evaluate", **record, **{NETWORK: network(0)}))
    assert (first["hits_stale"], first["hits_fresh"]) == (2, 2)  # there is no older network to compare with
    call(order(second, "train", **record))
    found = played(order(second, "evaluate", **record, **{NETWORK: network(1)}))
    assert quality(found) == pytest.approx(plays)
    assert {"hits": found["hits_stale"], "ndcg": found["ndcg_stale"]} == pytest.approx(GROUP_0)
    assert {"hits": found["hits_fresh"], "ndcg": found["ndcg_fresh"]} == pytest.approx(GROUP_1)


# -- playing with the installed network --------------------------------------------------------------------------------


@pytest.fixture
def installed(config: Told, folder: Path) -> Told:
    return replace(config, model=folder / "shared")


@pytest.mark.parametrize(
    ("budget", "served"),
    [
        (Budget(), True),
        (Budget(macs=RUN + SCORE), True),
        (Budget(macs=RUN + SCORE - 1), False),
        (Budget(model_bits=BLOCK * 32 - 1), False),
        (Budget(update_bits=0), True),  # nothing comes down
    ],
)
def test_the_installed_network_is_played_if_it_fits(installed: Told, budget: Budget, served: bool) -> None:
    found = played(order(installed, "evaluate", **{BUDGET: budget.record()}))
    assert quality(found) == pytest.approx(GROUP_1 if served else POPULAR)
    assert (found["served"], found["path"]) == (served, served)
    assert found["macs"] == (RUN + SCORE) * served
    assert found["param_bits"] == BLOCK * 32 * served
    assert found["macs_adapt"] == 0


def test_a_controller_chooses_within_the_budget_and_counts_what_choosing_took(folder: Path, tmp_path: Path) -> None:
    model = static_model(ITEMS, 3, CONTEXT, controller=True)
    assert model.device_part.controller is not None
    with torch.no_grad():  # keep-logits 1, -1 and 2 for everybody
        for parameter in model.device_part.controller.parameters():
            parameter.zero_()
        model.device_part.controller.head.bias.copy_(torch.tensor([1.0, -1.0, 2.0]))
    file = save(tmp_path / "controller", model, items=ITEMS, blocks=3, context=CONTEXT, history=HISTORY)
    config = Told(folder / "world", file, 0, CONTEXT, HISTORY)
    choosing = 5 * STEP + 64 * 3
    energy = choosing + 2 * RUN + SCORE
    for budget, bits in (
        (Budget(), 0b101),
        (Budget(model_bits=2 * BLOCK * 32), 0b101),
        (Budget(model_bits=2 * BLOCK * 32 - 1), 0b100),
        (Budget(model_bits=BLOCK * 32 - 1), 0),
        (Budget(joules=energy, predictions=1, joules_per_mac=1), 0b101),
        (Budget(joules=energy - 1, predictions=1, joules_per_mac=1), 0b100),
    ):
        found = played(order(config, "evaluate.controller", **{BUDGET: budget.record()}))
        assert (found["path"], found["served"]) == (bits, 1), budget
        assert found["macs"] == bits.bit_count() * RUN + SCORE
        assert found["macs_adapt"] == choosing


# -- playing with what the device has trained itself -------------------------------------------------------------------

TRAINING = 3 * 3 * (2 * RUN + 5 * SCORE)
"""Of device 0 before its first session: three steps, each forwards once and backwards twice; of its six items five are
targets, which lie in two windows of four."""


@pytest.mark.parametrize("more", [0, -1])
def test_a_device_trains_if_its_energy_allows_that_too(installed: Told, more: int) -> None:
    budget = Budget(joules=TRAINING + 3 * (RUN + SCORE) + more, predictions=3, joules_per_mac=1)
    found = played(order(installed, "evaluate.finetune", **{BUDGET: budget.record()}))
    assert found["macs_adapt"] == (TRAINING if more == 0 else 0)
    assert (found["served"], found["path"], found["macs"]) == (1, 1, RUN + SCORE)
    if more:  # then it plays with the installed weights
        assert quality(found) == pytest.approx(GROUP_1)


def test_a_device_whose_training_diverges_plays_with_the_installed_network_and_says_so(
    installed: Told, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("clients.local_training.LEARNING_RATE", 1e37)
    found = played(order(installed, "evaluate.finetune"))
    assert found["macs_adapt"] == TRAINING  # the energy is spent all the same
    assert (found["served"], found["path"]) == (1, 1)
    assert quality(found) == pytest.approx(GROUP_1)
    assert "device 0, session 0: its own training diverged" in caplog.text


def test_a_device_that_trains_no_more_plays_with_what_it_has_trained(
    installed: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = local_training.tune

    def tune(*args: Any) -> local_training.Tuned:
        """As if training had led from group 1 to group 0."""
        return replace(real(*args), weights=[torch.from_numpy(weights(0))[None]])

    record = {POLICY: policy("never", tmp_path)}
    with monkeypatch.context() as patch:
        patch.setattr(local_training, "tune", tune)
        first = played(order(installed, "evaluate.finetune", **record))
    assert quality(first) == pytest.approx(GROUP_0)
    assert first["macs_adapt"] == TRAINING
    second = played(order(replace(installed, session=1), "evaluate.finetune", **record))
    assert quality(second) == pytest.approx(GROUP_0)
    assert second["macs_adapt"] == 0


# -- one device or many ------------------------------------------------------------------------------------------------

DEVICES, BLOCKS = 7, 3


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Devices with histories of all lengths, and models in which they differ."""
    path = tmp_path_factory.mktemp("crowd")
    rng = np.random.default_rng(5)
    lengths = [3, 4, 9, 17, 30, 31, 60]
    sequences = [rng.integers(1, ITEMS + 1, length + 4 + d % 3).tolist() for d, length in enumerate(lengths)]
    write_world(path / "world", sequences, [[length, length + 2] for length in lengths])
    sizes = {"items": ITEMS, "blocks": BLOCKS, "context": CONTEXT, "history": 20}
    save(path / "adaptive", adaptive_model(ITEMS, BLOCKS, CONTEXT), **sizes)
    save(path / "shared", static_model(ITEMS, BLOCKS, CONTEXT), **sizes)
    save(path / "controller", static_model(ITEMS, BLOCKS, CONTEXT, controller=True), **sizes)
    return path


def messages(crowd: Path, model: str, action: str, state: Path | None) -> list[Message]:
    """One for each device: some with little to spend, in either session, with or without a network."""
    out = []
    rng = np.random.default_rng(6)
    for device in range(DEVICES):
        config = Told(crowd / "world", crowd / model, device % 2, CONTEXT, 20, seed=3)
        records: dict[str, ConfigRecord | ArrayRecord] = {
            BUDGET: Budget(model_bits=BLOCK * 32 * (device % 4)).record() if device % 2 else Budget().record()
        }
        if state is not None:
            records[POLICY] = policy("random:0.6", state, compare=True)
        if model == "adaptive" and action == "evaluate" and device != 2:
            path = path_of(1 + device, BLOCKS)
            made = {k: rng.normal(0, 0.3, BLOCK).astype(np.float32) for k in np.flatnonzero(path).tolist()}
            records[NETWORK] = pack_network(path, made)
        out.append(order(config, action, device, **records))
    return out


@pytest.mark.parametrize("remembers", [False, True])
@pytest.mark.parametrize(
    ("model", "actions"),
    [
        ("adaptive", ["train", "evaluate"]),
        ("adaptive", ["train.random", "evaluate"]),
        ("adaptive", ["train.first", "evaluate"]),
        ("adaptive", ["train.last", "evaluate"]),
        ("shared", ["evaluate"]),
        ("shared", ["evaluate.finetune"]),
        ("shared", ["evaluate.litepred"]),
        ("controller", ["evaluate.controller"]),
    ],
)
def test_a_device_answers_the_same_alone_and_among_others(
    crowd: Path, tmp_path: Path, model: str, actions: list[str], remembers: bool
) -> None:
    contexts = [context(device) for device in range(DEVICES)]
    for action in actions:

        def sent(name: str, action: str = action) -> list[Message]:
            return messages(crowd, model, action, tmp_path / name if remembers else None)

        alone = [app(message, one) for message, one in zip(sent("alone"), contexts, strict=True)]
        together = app.call_many(sent("together"), contexts)
        backwards = app.call_many(sent("backwards")[::-1], contexts[::-1])[::-1]
        for other in (together, backwards):
            for device, (first, second) in enumerate(zip(alone, other, strict=True)):
                same(first, second, f"{action}, device {device}")


def same(first: Message, second: Message, where: str) -> None:
    """Whole numbers are equal, others as far as sums of another order round."""
    assert set(first.content) == set(second.content), where
    for name, record in first.content.items():
        other = second.content[name]
        if isinstance(record, ArrayRecord):
            assert isinstance(other, ArrayRecord)
            for key in record:
                np.testing.assert_allclose(record[key].numpy(), other[key].numpy(), atol=1e-5, err_msg=where)
        else:
            assert dict(record) == pytest.approx(dict(other), abs=1e-9), where
