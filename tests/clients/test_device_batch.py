"""Every message to a device is honoured on its own terms, whoever is in the batch, or refused in one line."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict

from benchmarks.fuzz_messages import Wave
from benchmarks.small_world import BLOCKS, DEVICES, Bench, copied
from benchmarks.verdicts import same
from clients.budget import Budget
from clients.messages import ModelConfig
from clients.stream import pack_stream
from sim.backends.inprocess import InProcessGrid

Change = Callable[[RecordDict], None]


@pytest.fixture(scope="module")
def wave(tmp_path_factory: pytest.TempPathFactory) -> Wave:
    return Wave(Bench(tmp_path_factory.mktemp("bench")), "forward-ofa", "", 0)


def answers(wave: Wave, kind: str, changes: dict[int, Change]) -> list[RecordDict]:
    """What the devices of a batch reply; ``changes`` alters the messages to some of them."""
    messages = []
    for row, told in enumerate(wave.told[kind]):
        content = copied(told.content)
        changes.get(row, lambda content: None)(content)
        messages.append(Message(content, dst_node_id=told.metadata.dst_node_id, message_type=kind))
    grid = wave.bench.grid
    grid.known = None
    replies = InProcessGrid.send_and_receive(grid, messages)
    assert not any(reply.has_error() for reply in replies)
    return [reply.content for reply in replies]


def honest(wave: Wave, kind: str) -> list[RecordDict]:
    return [wave.known[kind, told.metadata.dst_node_id] for told in wave.told[kind]]


def network(**arrays: np.ndarray | None) -> Change:
    """Other arrays in the network, or none of that name."""

    def change(content: RecordDict) -> None:
        for name, value in arrays.items():
            key = name.replace("block", "block.")
            if value is None:
                content.array_records["network"].pop(key, None)
            else:
                content.array_records["network"][key] = Array(value)

    return change


def session(**values: object) -> Change:
    def change(content: RecordDict) -> None:
        content.config_records["session"].update(values)  # type: ignore[arg-type]

    return change


def model(**values: object) -> Change:
    def change(content: RecordDict) -> None:
        content.config_records["model"].update(values)  # type: ignore[arg-type]

    return change


def stream(**arrays: np.ndarray) -> Change:
    def change(content: RecordDict) -> None:
        past, now = (np.frombuffer(content.array_records["stream"][name].data, "<i4") for name in ("past", "now"))
        content["stream"] = pack_stream(arrays.get("past", past), arrays.get("now", now))

    return change


def record(name: str, value: ConfigRecord | None) -> Change:
    def change(content: RecordDict) -> None:
        if value is None:
            del content[name]
        else:
            content[name] = value

    return change


ALL = np.array([2**BLOCKS - 1], np.uint8)
BLOCK = np.zeros(20_800, np.float32)
WHOLE = {"path": ALL, **{f"block{k}": BLOCK for k in range(BLOCKS)}}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (network(**{**WHOLE, "block1": None}), "lacks block.1, which its path names"),
        (network(**{**WHOLE, "block9": BLOCK}), "holds 'block.9', which its path does not name"),
        (network(**{**WHOLE, "path": np.array([1, 0], np.uint8)}), "path is 'uint8' (2,)"),
        (network(**{**WHOLE, "path": np.array([1 << BLOCKS], np.uint8)}), f"beyond the {BLOCKS}"),
        (network(**{**WHOLE, "path": np.array([3], np.uint8)}), "holds 'block.2', which its path does not name"),
        (network(**{**WHOLE, "block0": BLOCK[:-1]}), "block.0 is 'float32' (20799,)"),
        (network(**{**WHOLE, "block0": BLOCK.astype(np.float64)}), "block.0 is 'float64' (20800,)"),
        (network(**{**WHOLE, "block0": np.full_like(BLOCK, np.nan)}), "block.0 holds numbers that are not finite"),
        (record("network", ConfigRecord({"path": 1})), "'network' must hold arrays"),
        (record("session", None), "the record 'session' is missing"),
        (record("note", ConfigRecord()), "the record 'note' is none that the protocol names"),
        (record("model", None), "the record 'model' is missing"),
        (record("stream", None), "the record 'stream' is missing, and the device has no stream of its own"),
        (record("stream", ArrayRecord({"past": Array(np.ones(3, np.int32))})), "'stream' must hold exactly"),
        (stream(now=np.zeros(0, np.int32)), "now is empty"),
        (stream(now=np.array([1, 99], np.int32)), "now holds items beyond 1 to 30"),
        (stream(past=np.array([0, 1], np.int32)), "past holds items beyond 1 to 30"),
        (session(session=-1), "session is -1"),
        (session(session=1.0), "session is of type float"),
        (model(context=4), "context is 4, the installed model reads 5"),
        (model(history_length=0), "history_length is 0"),
        (model(history_length=2**40), "history_length is 1099511627776"),
        (session(extra=1), "'session' holds 'extra'"),
        (session(device=-1), "device is -1"),
        (model(digest="nowhere"), "digest is 'nowhere'"),
        (model(digest="/" + 63 * "0"), "expected 64 hexadecimal digits"),
        (record("budget", ConfigRecord({**Budget().record(), "macs": float("nan")})), "macs is nan"),
        (record("budget", ConfigRecord({"macs": 1.0})), "'budget' lacks model_bits"),
        (record("policy", ConfigRecord({"name": "never"})), "'policy' lacks state"),
    ],
)
def test_what_cannot_be_honoured_is_refused_in_one_line_and_changes_nothing_for_the_others(
    wave: Wave, change: Change, why: str
) -> None:
    found = answers(wave, "evaluate", {2: change})
    reason = str(found[2].config_records["refused"]["reason"])
    assert why in reason
    assert "\n" not in reason
    for row, (mine, known) in enumerate(zip(found, honest(wave, "evaluate"), strict=True)):
        assert row == 2 or same(mine, known)


def test_a_network_comes_with_no_request(wave: Wave) -> None:
    def change(content: RecordDict) -> None:
        content["network"] = wave.told["evaluate"][1].content["network"].copy()  # type: ignore[assignment]

    found = answers(wave, "train", {1: change})
    assert found[1].config_records["refused"]["reason"] == "a network comes with a message that needs none"


def test_what_is_told_to_a_device_without_what_it_takes_is_refused(wave: Wave) -> None:
    """Forward-OFA installs no network that could be trained or chosen from."""
    for kind in ("evaluate.finetune", "evaluate.controller", "evaluate.litepred"):
        told = wave.told["train"][0]
        message = Message(copied(told.content), dst_node_id=told.metadata.dst_node_id, message_type=kind)
        wave.bench.grid.known = None
        (reply,) = InProcessGrid.send_and_receive(wave.bench.grid, [message])
        assert "the installed model has no" in str(reply.content.config_records["refused"]["reason"])


def test_devices_of_one_batch_are_told_different_things(wave: Wave) -> None:
    """Each one's session, seed, history length, budget and model are its own: as if it were asked alone."""
    other = Wave(wave.bench, "forward-ofa-no-structure", "", 0)
    digest = ModelConfig.of(other.told["train"][0]).digest
    changes: dict[int, Change] = {
        0: session(seed=99),
        1: model(history_length=3),
        2: stream(past=np.arange(1, 9), now=np.array([1, 2, 3])),
        3: model(digest=digest),
        4: record("budget", replace(Budget(), macs=1.0).record()),
    }
    assert len(changes) == DEVICES
    for kind in ("train", "evaluate"):
        together = answers(wave, kind, changes)
        for row, change in changes.items():
            alone = answers(wave, kind, {**dict.fromkeys(changes, record("session", None)), row: change})[row]
            assert same(together[row], alone)
        differ = [not same(mine, known) for mine, known in zip(together, honest(wave, kind), strict=True)]
        assert differ[2]
        assert differ[4]
        assert kind == "evaluate" or (differ[1] and differ[3])
