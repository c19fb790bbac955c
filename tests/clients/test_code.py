"""Codes in messages: their bits, and what a device refuses that makes its network of one, or makes it itself."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict

from benchmarks.fuzz_messages import Wave
from benchmarks.small_world import BLOCKS, Bench, copied
from clients.fields import BadMessage
from clients.messages import CODE, array_bits, pack_code, pack_network, read_code, sent_path
from models.delivery import Delivery
from sim.backends.inprocess import InProcessGrid

PIECES = [16, 192, 16, 64, 16, 64]
PATH = np.array([True, False, True])


def message(record: ArrayRecord | ConfigRecord) -> Message:
    return Message(RecordDict({CODE: record}), dst_node_id=1, message_type="evaluate")


def codes() -> dict[int, torch.Tensor]:
    return {k: torch.randn(368, generator=torch.Generator().manual_seed(k)) for k in (0, 2)}


@pytest.mark.parametrize(("bits", "each"), [(32, 368 * 32), (16, 368 * 16), (8, 368 * 8 + 6 * 32)])
def test_the_bits_of_a_code_are_those_of_its_arrays(bits: int, each: int) -> None:
    record = pack_code(PATH, codes(), PIECES, bits)
    assert array_bits(record) == 8 + 2 * each
    assert sent_path(record) == 0b101
    path, found = read_code(message(record), 3, PIECES, bits)
    assert path.tolist() == PATH.tolist()
    assert list(found) == [0, 2]
    for k, code in codes().items():
        assert float((found[k] - code).abs().max()) <= {32: 0, 16: 2e-3, 8: 0.02}[bits]


def changed(bits: int, **arrays: np.ndarray | None) -> ArrayRecord:
    record = pack_code(PATH, codes(), PIECES, bits)
    for name, value in arrays.items():
        key = name[:-1] + "." + name[-1] if name != "path" else name
        if value is None:
            del record[key]
        else:
            record[key] = Array(value)
    return record


@pytest.mark.parametrize(
    ("bits", "record", "why"),
    [
        (8, changed(8, scale2=None), "lacks scale.2, which its path names"),
        (8, changed(8, code0=None), "lacks code.0, which its path names"),
        (32, changed(32, scale0=np.zeros(6, np.float32)), "holds 'scale.0', which its path does not name"),
        (32, changed(32, code1=np.zeros(368, np.float32)), "holds 'code.1', which its path does not name"),
        (8, changed(32), "lacks scale.0"),
        (16, changed(32), "code.0 is 'float32' (368,), expected float16 (368,)"),
        (32, changed(32, code2=np.zeros(367, np.float32)), "code.2 is 'float32' (367,)"),
        (8, changed(8, scale0=np.zeros(5, np.float32)), "scale.0 is 'float32' (5,)"),
        (8, changed(8, scale0=np.full(6, -1, np.float32)), "scale.0 holds -1, expected at least 0"),
        (8, changed(8, scale0=np.full(6, 3e38, np.float32)), "code.0 times scale.0 is not finite"),
        (16, changed(16, code0=np.full(368, np.inf, np.float16)), "code.0 holds numbers that are not finite"),
        (32, changed(32, path=np.array([1 << 3], np.uint8)), "beyond the 3"),
        (32, ConfigRecord({"path": 1}), "'code' must hold arrays"),
    ],
)
def test_a_code_that_breaks_the_protocol_is_refused(bits: int, record: Any, why: str) -> None:
    with pytest.raises(BadMessage) as error:
        read_code(message(record), 3, PIECES, bits)
    assert why in str(error.value)
    assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


def refused(wave: Wave, kind: str, change: Callable[[RecordDict], None]) -> str:
    """Why the third device of the wave refuses the changed message; the others answer as ever."""
    messages = []
    for row, told in enumerate(wave.told[kind]):
        content = copied(told.content)
        if row == 2:
            change(content)
        messages.append(Message(content, dst_node_id=told.metadata.dst_node_id, message_type=kind))
    wave.bench.grid.known = None
    replies = InProcessGrid.send_and_receive(wave.bench.grid, messages)
    assert ["refused" in reply.content for reply in replies] == [row == 2 for row in range(len(messages))]
    return str(replies[2].content.config_records["refused"]["reason"])


def test_a_device_takes_what_its_installed_model_makes_a_network_of_and_nothing_else(bench: Bench) -> None:
    path = np.ones(BLOCKS, dtype=bool)
    weights = pack_network(path, {k: np.zeros(20_800, np.float32) for k in range(BLOCKS)})
    code = pack_code(path, {k: torch.zeros(368) for k in range(BLOCKS)}, PIECES, 8)

    def gets(*records: tuple[str, ArrayRecord]) -> Callable[[RecordDict], None]:
        def change(content: RecordDict) -> None:
            for name in ("code", "network"):
                content.pop(name, None)
            content.update(dict(records))  # type: ignore[arg-type]

        return change

    coded = Wave(bench, "duet-plus", "", 0, Delivery("code", 8))
    assert "a network comes, of which" in refused(coded, "evaluate", gets(("network", weights)))
    assert "a network comes, of which" in refused(coded, "evaluate", gets(("network", weights), ("code", code)))
    assert "comes with a message that needs none" in refused(coded, "train", gets(("code", code)))
    local = Wave(bench, "duet-plus", "", 0, Delivery("local"))
    assert "a code comes with a message that needs none" in refused(local, "evaluate.local", gets(("code", code)))
    plain = Wave(bench, "duet-plus", "", 0)
    assert "a code comes, of which" in refused(plain, "evaluate", gets(("code", code)))


def test_a_device_without_a_mapper_makes_no_network_itself(bench: Bench) -> None:
    wave = Wave(bench, "duet-plus", "", 0, Delivery("code", 8))
    told = [
        Message(copied(one.content), dst_node_id=one.metadata.dst_node_id, message_type="evaluate.local")
        for one in wave.told["train"]
    ]
    wave.bench.grid.known = None
    for reply in InProcessGrid.send_and_receive(wave.bench.grid, told):
        assert reply.content.config_records["refused"]["reason"] == "the installed model has no mapper for this"


def test_a_reply_that_claims_other_computing_of_its_network_is_rejected(bench: Bench) -> None:
    """Of folding, and of making a network itself, the cloud knows what they take."""
    for delivery, kind in ((Delivery("code", 8), "evaluate"), (Delivery("local"), "evaluate.local")):
        wave = Wave(bench, "duet-plus", "", 0, delivery)
        victim = wave.devices[1]
        known = wave.known[kind, victim.node].metric_records["measured"]
        honest = known["macs_adapt"]
        assert isinstance(honest, int)
        extracting = min(victim.past, 8) * 6 * 64 * 64
        fold, code = 3 * 64 * 16 + 64 * 16 * 320, 64 * (3 * 16 + 320)
        assert honest == BLOCKS * fold + (delivery.how == "local") * (BLOCKS * code + extracting)
        known["macs_adapt"] = honest + 1
        wave.bench.grid.known, wave.bench.grid.replies = wave.known, list
        (result,) = [one for one in wave._play(0) if one.device_session == victim]
        assert (result.status, result.problem) == (
            "rejected",
            f"macs_adapt is {honest + 1}, which adapting does not take here",
        )
