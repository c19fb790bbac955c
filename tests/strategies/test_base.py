"""A strategy's four methods, driven with replies made by hand: what is sent to whom, and what an answer changes."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord

from clients.messages import MEASURED, MODEL, NETWORK, ModelConfig, pack_decline, pack_probe, pack_request
from strategies.adaptive import AdaptiveStrategy
from strategies.base import SessionStrategy
from strategies.devicerec import DeviceRec
from strategies.duet import Duet
from strategies.forward_ofa import ForwardOFA
from strategies.wave import DeviceSession, SessionResult, WaveRules
from tests.support.seam import BLOCK, answer, block, latent, mapper_by_hand, measured, save, static_model

ITEMS, BLOCKS, CONTEXT, HISTORY = 20, 3, 5, 8
FIRST = [DeviceSession(node=901, device=0, session=0, events=4), DeviceSession(node=55, device=1, session=0, events=2)]
FIRST.append(DeviceSession(node=700, device=2, session=0, events=1))
SECOND = [
    DeviceSession(node=901, device=0, session=1, events=1),
    DeviceSession(node=700, device=2, session=1, events=1),
]
ROUNDS = {1: FIRST, 2: SECOND}
NOTHING, CONFIG = ArrayRecord(), ConfigRecord()
MACS = 64 * BLOCKS
"""Of a request by a device that has nothing to read yet: the controller's layer."""
DECIDING, COMPARING = WaveRules(remembers=True), WaveRules(remembers=True, compares=True)
GRID = Mock()  # a strategy is handed one and asks it nothing

Records = Mapping[str, ArrayRecord | MetricRecord]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models")
    sizes = {"items": ITEMS, "blocks": BLOCKS, "context": CONTEXT, "history": HISTORY}
    save(path / "static.safetensors", static_model(ITEMS, BLOCKS, CONTEXT), **sizes)
    save(path / "adaptive.safetensors", mapper_by_hand(ITEMS, BLOCKS, CONTEXT), **sizes)
    return path


@pytest.fixture
def plain(folder: Path) -> SessionStrategy:
    return DeviceRec(folder / "static.safetensors", ROUNDS)


@pytest.fixture
def adaptive(folder: Path) -> AdaptiveStrategy:
    return ForwardOFA(folder / "adaptive.safetensors", ROUNDS)


def sent(strategy: SessionStrategy, phase: str, server_round: int = 1) -> list[Message]:
    configure = getattr(strategy, f"configure_{phase}")
    return list(configure(server_round, NOTHING, CONFIG, GRID))


def ask(strategy: SessionStrategy, answers: Mapping[int, Records], server_round: int = 1) -> dict[int, Message]:
    """Play the train phase with these answers, by node; give what is sent in the evaluate phase, by node."""
    questions = sent(strategy, "train", server_round)
    replies = [answer(m, answers[m.metadata.dst_node_id]) for m in questions if m.metadata.dst_node_id in answers]
    strategy.aggregate_train(server_round, replies)
    return {message.metadata.dst_node_id: message for message in sent(strategy, "evaluate", server_round)}


def results(strategy: SessionStrategy) -> dict[int, SessionResult]:
    return {result.device_session.node: result for result in strategy.end()}


def wants(*blocks: int, first: float = 0, second: float = 0, macs: int = MACS) -> Records:
    path = np.isin(np.arange(BLOCKS), blocks)
    return pack_request(path, latent(first, second), macs)


def network(message: Message) -> dict[str, list[float]] | None:
    """The arrays of the network in a message."""
    if NETWORK not in message.content:
        return None
    record = message.content[NETWORK]
    assert isinstance(record, ArrayRecord)
    return {name: array.numpy().tolist() for name, array in record.items()}


# -- methods that ask nothing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["plain", "adaptive"])
def test_every_device_of_the_round_is_told_its_model_and_nothing_else(
    name: str, folder: Path, request: pytest.FixtureRequest
) -> None:
    strategy: SessionStrategy = request.getfixturevalue(name)
    for server_round, expected in ROUNDS.items():
        messages = sent(strategy, "evaluate", server_round)
        assert [m.metadata.dst_node_id for m in messages] == [one.node for one in expected]
        assert {m.metadata.message_type for m in messages} == {"evaluate"}
        for message in messages:
            assert set(message.content) == {MODEL}  # the simulation tells it which session that is
            digest = hashlib.sha256((folder / "installed" / strategy.model.name).read_bytes()).hexdigest()
            assert ModelConfig.of(message) == ModelConfig(digest, CONTEXT, HISTORY)


class Unsearched(list[DeviceSession]):
    """A round of so many devices that looking through it for each wave takes longer than playing them."""

    def __iter__(self) -> Iterator[DeviceSession]:
        raise AssertionError("somebody looks through the devices of a round")

    def __contains__(self, one: object) -> bool:
        raise AssertionError("somebody looks for a device in its round")


@pytest.mark.parametrize("kind", [DeviceRec, ForwardOFA])
def test_a_wave_takes_no_longer_in_a_round_of_more_devices(kind: type[SessionStrategy], folder: Path) -> None:
    model = "static" if kind is DeviceRec else "adaptive"
    strategy = kind(folder / f"{model}.safetensors", {1: Unsearched(FIRST)})
    strategy.begin(FIRST[1:])
    for phase in ("train", "evaluate"):
        assert {m.metadata.dst_node_id for m in sent(strategy, phase)} <= {55, 700}
    assert set(results(strategy)) == {55, 700}


def test_a_round_in_which_nobody_plays_sends_nothing(plain: SessionStrategy) -> None:
    assert sent(plain, "train", 7) == []
    assert sent(plain, "evaluate", 7) == []
    assert plain.end() == []


def test_nothing_is_asked_where_nothing_adapts(plain: SessionStrategy) -> None:
    assert sent(plain, "train") == []
    assert plain.aggregate_train(1, []) == (None, None)
    assert [result.device_session for result in plain.end()] == FIRST
    assert plain.end() == []


def test_measurements_are_kept_by_device_and_summed(plain: SessionStrategy) -> None:
    numbers = [{"events": 4, "hits": 3, "ndcg": 1.5, "served": 0}, {"events": 2, "hits": 0, "ndcg": 0.0, "served": 0}]
    numbers.append({"events": 1, "hits": 1, "ndcg": 0.5, "served": 0})
    messages = sent(plain, "evaluate")
    replies = [answer(m, measured(**one)) for m, one in zip(messages, numbers, strict=True)]
    total = plain.aggregate_evaluate(1, reversed(replies))  # in whatever order they arrive
    assert total == MetricRecord({"events": 7.0, "hits": 4.0, "ndcg": 2.0})
    for result, one in zip(plain.end(), numbers, strict=True):
        assert result.measured is not None
        assert {name: result.measured[name] for name in one} == one
        assert (result.requested, result.bits_up, result.bits_down, result.macs_cloud) == (False, 0, 0, 0)
        assert (result.status, result.problem) == ("ok", "")


def failed(message: Message) -> Message:
    return Message(Error(2, "ValueError: no such session"), reply_to=message)


def with_items(message: Message) -> Message:
    return answer(message, {**measured(events=4), "items": ArrayRecord({"seen": Array(np.array([3, 5]))})})


def without_hits(message: Message) -> Message:
    numbers = dict(measured(events=4)[MEASURED])
    del numbers["hits"]
    return answer(message, {MEASURED: MetricRecord(numbers)})  # type: ignore[arg-type]


def not_finite(message: Message) -> Message:
    return answer(message, measured(events=4, ndcg=float("nan")))


@pytest.mark.parametrize(
    ("wrong", "status"),
    [(failed, "failed"), (with_items, "rejected"), (without_hits, "rejected"), (not_finite, "rejected")],
)
def test_a_wrong_report_costs_its_sender_and_nobody_else(
    plain: SessionStrategy, wrong: Callable[[Message], Message], status: str
) -> None:
    first, second, third = sent(plain, "evaluate")
    total = plain.aggregate_evaluate(1, [wrong(first), answer(second, measured(events=2, hits=1, ndcg=1.0))])
    assert total == MetricRecord({"events": 2.0, "hits": 1.0, "ndcg": 1.0})
    found = results(plain)
    assert found[901].measured is None
    assert found[901].status == status
    assert found[901].problem
    assert found[55].measured is not None
    assert (found[55].status, found[700].measured, found[700].status) == ("ok", None, "lost")
    assert third.metadata.dst_node_id == 700


def test_a_round_without_a_valid_report_has_no_total(plain: SessionStrategy) -> None:
    messages = sent(plain, "evaluate")
    assert plain.aggregate_evaluate(1, [not_finite(messages[0])]) is None


def test_the_next_round_begins_without_what_the_last_one_left(plain: SessionStrategy) -> None:
    for message in sent(plain, "evaluate", 1):
        plain.aggregate_evaluate(1, [answer(message, measured())])
    assert [m.metadata.dst_node_id for m in sent(plain, "evaluate", 2)] == [901, 700]
    assert [result.measured for result in plain.end()] == [None, None]


def test_a_wave_is_a_part_of_a_round(plain: SessionStrategy) -> None:
    plain.begin(FIRST[1:2])
    assert [m.metadata.dst_node_id for m in sent(plain, "evaluate", 1)] == [55]
    assert [result.device_session.node for result in plain.end()] == [55]


# -- methods that answer a request -------------------------------------------------------------------------------------


def test_every_device_of_the_round_is_asked(folder: Path) -> None:
    class Other(ForwardOFA):
        train_action = "train.random"

    for strategy, action in ((ForwardOFA, "train"), (Other, "train.random"), (Duet, "train")):
        messages = sent(strategy(folder / "adaptive.safetensors", ROUNDS), "train")
        assert [m.metadata.dst_node_id for m in messages] == [901, 55, 700]
        assert {m.metadata.message_type for m in messages} == {action}
        assert all(set(m.content) == {MODEL} for m in messages)


def test_a_request_is_answered_with_the_blocks_it_names(adaptive: AdaptiveStrategy) -> None:
    messages = ask(adaptive, {55: wants(0, 2, first=2, second=-3)})
    made = network(messages[55])
    assert made == {
        "path": [0b101],
        "block.0": block(0, 2, -3).tolist(),
        "block.2": block(2, 2, -3).tolist(),
    }
    assert [made["block.2"][i] for i in (0, 1, 5)] == [5, 3, -3]  # 3 + 2; 3; 3 + 2 * (-3)
    assert 901 not in messages  # it did not answer
    result = results(adaptive)[55]
    assert result.requested
    assert result.macs_device == MACS
    assert result.bits_up == 64 * 32 + 8
    assert result.bits_down == 2 * BLOCK * 32 + 8
    assert result.macs_cloud == 2 * 64 * BLOCK


def test_devices_get_their_own_networks_whatever_the_order_of_the_replies(adaptive: AdaptiveStrategy) -> None:
    questions = sent(adaptive, "train")
    wanted = [wants(1, first=1), wants(0, 1, second=2), wants(1, 2, first=-4, second=0.5)]
    replies = [answer(m, one) for m, one in zip(questions, wanted, strict=True)]
    _, counted = adaptive.aggregate_train(1, [replies[2], replies[0], replies[1]])
    assert counted == MetricRecord({"requests": 3})
    first, second, third = (network(message) for message in sent(adaptive, "evaluate"))
    assert first == {"path": [0b010], "block.1": block(1, 1, 0).tolist()}
    assert second == {"path": [0b011], "block.0": block(0, 0, 2).tolist(), "block.1": block(1, 0, 2).tolist()}
    assert third == {"path": [0b110], "block.1": block(1, -4, 0.5).tolist(), "block.2": block(2, -4, 0.5).tolist()}


def test_a_request_for_no_block_is_answered_with_its_path_alone(adaptive: AdaptiveStrategy) -> None:
    messages = ask(adaptive, {901: wants()})
    assert network(messages[901]) == {"path": [0]}
    result = results(adaptive)[901]
    assert (result.requested, result.bits_down, result.macs_cloud) == (True, 8, 0)


def test_a_device_that_declines_gets_nothing_and_is_told_to_play(adaptive: AdaptiveStrategy) -> None:
    adaptive.begin(FIRST, DECIDING)
    messages = ask(adaptive, {901: pack_decline(MACS), 55: wants(0)})
    assert network(messages[901]) is None
    result = results(adaptive)[901]
    assert (result.requested, result.macs_device) == (False, MACS)
    assert (result.bits_up, result.bits_down, result.macs_cloud) == (0, 0, 0)
    assert result.problem == ""


def test_a_probe_is_answered_and_costs_nothing(adaptive: AdaptiveStrategy) -> None:
    path = np.array([False, True, False])
    adaptive.begin(FIRST, COMPARING)
    messages = ask(adaptive, {700: pack_probe(path, latent(3, 1), macs=0)})
    assert network(messages[700]) == {"path": [0b010], "block.1": block(1, 3, 1).tolist()}
    result = results(adaptive)[700]
    assert (result.requested, result.probed, result.macs_device) == (False, True, 0)
    assert (result.bits_up, result.bits_down, result.macs_cloud) == (0, 0, 0)


def test_a_device_whose_answer_was_lost_is_told_nothing_more(adaptive: AdaptiveStrategy) -> None:
    assert sorted(ask(adaptive, {55: wants(0)})) == [55]
    assert [result.status for result in adaptive.end()] == ["lost"] * 3  # of the second the report is missing


def test_a_late_request_is_counted_and_not_answered(adaptive: AdaptiveStrategy) -> None:
    adaptive.begin(FIRST, WaveRules(late=lambda one, asked: one.device == 1 and asked.bits == 64 * 32 + 8))
    messages = ask(adaptive, {901: wants(0), 55: wants(0)})
    assert network(messages[55]) is None
    adaptive.aggregate_evaluate(1, [answer(messages[55], measured(events=2))])
    result = results(adaptive)[55]
    assert (result.status, result.requested, result.bits_up) == ("late", True, 64 * 32 + 8)
    assert (result.macs_device, result.bits_down, result.macs_cloud) == (MACS, 0, 0)


def long_latent() -> Records:
    return pack_request(np.ones(BLOCKS, dtype=bool), np.zeros(65, dtype=np.float32), MACS)


def beyond() -> Records:
    return pack_request(np.array([0, 0, 0, 1], dtype=bool), latent(1, 1), MACS)


def infinite() -> Records:
    return wants(0, first=float("inf"))


def extra() -> Records:
    return {**wants(0), "items": MetricRecord({"last": 7})}


def negative() -> Records:
    return wants(0, macs=-1)


@pytest.mark.parametrize("wrong", [long_latent, beyond, infinite, extra, negative])
def test_a_wrong_request_is_not_answered_and_costs_nobody_else_anything(
    adaptive: AdaptiveStrategy, wrong: Callable[[], Records]
) -> None:
    messages = ask(adaptive, {55: wrong(), 700: wants(2, first=1, second=1)})
    assert sorted(messages) == [700]
    assert network(messages[700]) == {"path": [0b100], "block.2": block(2, 1, 1).tolist()}
    found = results(adaptive)
    assert found[55].status == "rejected"
    assert found[55].problem
    assert (found[55].requested, found[55].bits_up, found[55].bits_down, found[55].macs_device) == (False, 0, 0, 0)
    assert (found[700].requested, found[700].problem) == (True, "")


def test_a_network_is_handed_over_once_and_not_kept_for_the_next_round(adaptive: AdaptiveStrategy) -> None:
    assert network(ask(adaptive, {901: wants(1)})[901]) is not None
    assert network(sent(adaptive, "evaluate")[0]) is None
    adaptive.end()
    questions = sent(adaptive, "train")
    adaptive.aggregate_train(1, [answer(m, wants(0)) for m in questions])  # and the round is never evaluated
    messages = sent(adaptive, "evaluate", 2)
    assert [m.metadata.dst_node_id for m in messages] == [901, 700]
    assert all(network(message) is None for message in messages)
