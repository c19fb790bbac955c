"""Whatever is packed is read back, and nothing else is read."""

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from clients.fields import MEASURED_FIELDS
from clients.messages import (
    MEASURED,
    NETWORK,
    REQUEST,
    BadMessage,
    Decline,
    DeviceRequest,
    RequestRules,
    array_bits,
    pack_decline,
    pack_network,
    pack_probe,
    pack_request,
    read_measured,
    read_network,
    read_request,
)
from models.coding import FloatCoding
from tests.support.properties import FEW

paths = st.lists(st.booleans(), min_size=1, max_size=20).map(lambda bits: np.array(bits, dtype=bool))
finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
latents = st.lists(finite, min_size=1, max_size=5).map(lambda numbers: np.resize(np.array(numbers, np.float32), 64))
counts = st.integers(0, 10**12)
names = st.text(min_size=1, max_size=12)
records = st.sampled_from(
    [MetricRecord({"n": 1}), ConfigRecord({"items": [3, 5]}), ArrayRecord({"seen": Array(np.arange(3))})]
)

REPORT = {field.name: field.kind(0) for field in MEASURED_FIELDS}


def rules(blocks: int) -> RequestRules:
    return RequestRules(blocks, probes=True)


def message(content: object) -> Message:
    return Message(RecordDict(dict(content)), dst_node_id=1, message_type="train")  # type: ignore[call-overload]


@FEW
@given(path=paths, latent=latents, macs=counts, probes=st.booleans())
def test_a_request_is_read_as_it_was_packed(path: np.ndarray, latent: np.ndarray, macs: int, probes: bool) -> None:
    asked = read_request(message((pack_probe if probes else pack_request)(path, latent, macs)), rules(len(path)))
    assert isinstance(asked, DeviceRequest)
    assert asked.path.tolist() == path.tolist()
    assert asked.latent.tobytes() == latent.tobytes()
    assert (asked.macs, asked.probe) == (macs, probes)
    assert asked.bits == 8 * (-(-len(path) // 8)) + 64 * 32


@FEW
@given(macs=counts, blocks=st.integers(1, 20))
def test_a_decline_is_no_request(macs: int, blocks: int) -> None:
    assert read_request(message(pack_decline(macs)), rules(blocks)) == Decline(macs)


@FEW
@given(path=paths, latent=latents, blocks=st.integers(1, 24))
def test_a_path_of_another_number_of_blocks_is_refused_if_it_cannot_be_one_of_these(
    path: np.ndarray, latent: np.ndarray, blocks: int
) -> None:
    """Bits travel in whole bytes, so that a short path is one of more blocks of which the last are not wanted."""
    sent = message(pack_request(path, latent, 1))
    if -(-len(path) // 8) == -(-blocks // 8) and not path[blocks:].any():
        asked = read_request(sent, rules(blocks))
        assert isinstance(asked, DeviceRequest)
        assert asked.path.tolist() == [*path.tolist(), *[False] * blocks][:blocks]
    else:
        with pytest.raises(BadMessage):
            read_request(sent, rules(blocks))


@FEW
@given(path=paths, name=names, record=records)
def test_an_extra_record_is_refused(path: np.ndarray, name: str, record: object) -> None:
    packed = pack_request(path, np.zeros(64), 1)
    if name in packed:
        return
    with pytest.raises(BadMessage):
        read_request(message({**packed, name: record}), rules(len(path)))
    with pytest.raises(BadMessage):
        read_request(message({**pack_decline(1), name: record}), rules(len(path)))
    report = {MEASURED: MetricRecord(REPORT)}  # type: ignore[arg-type]
    read_measured(message(report), compared=False)
    with pytest.raises(BadMessage):
        read_measured(message({**report, name: record}), compared=False)


@FEW
@given(path=paths, name=names)
def test_an_extra_array_or_number_is_refused(path: np.ndarray, name: str) -> None:
    packed = pack_request(path, np.zeros(64), 1)
    arrays, numbers = packed[REQUEST], packed[MEASURED]
    assert isinstance(arrays, ArrayRecord)
    if name not in arrays:
        more = ArrayRecord({**arrays, name: Array(np.zeros(1))})
        with pytest.raises(BadMessage):
            read_request(message({**packed, REQUEST: more}), rules(len(path)))
    if name not in ("macs", "probe"):
        with pytest.raises(BadMessage):
            read_request(message({**packed, MEASURED: MetricRecord({**numbers, name: 1})}), rules(len(path)))  # type: ignore[dict-item]
    if name not in REPORT:
        report = {MEASURED: MetricRecord({**REPORT, name: 0})}  # type: ignore[dict-item]
        with pytest.raises(BadMessage):
            read_measured(message(report), compared=False)


@FEW
@given(path=paths, latent=latents, at=st.integers(0, 63), bad=st.sampled_from([np.nan, np.inf, -np.inf]))
def test_one_number_that_is_not_finite_is_enough(path: np.ndarray, latent: np.ndarray, at: int, bad: float) -> None:
    latent[at] = bad
    with pytest.raises(BadMessage):
        read_request(message(pack_request(path, latent, 1)), rules(len(path)))


@FEW
@given(
    name=st.sampled_from(sorted(REPORT)),
    bad=st.sampled_from([-1, -1e-9, float("nan"), float("inf"), -float("inf")]),
)
def test_a_measurement_that_cannot_be_is_refused(name: str, bad: float) -> None:
    with pytest.raises(BadMessage):
        read_measured(message({MEASURED: MetricRecord({**REPORT, name: bad})}), compared=False)  # type: ignore[dict-item]


@FEW
@given(path=paths, data=st.data())
def test_a_network_is_read_as_it_was_packed(path: np.ndarray, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 4))
    row = st.lists(finite, min_size=size, max_size=size).map(lambda numbers: np.array(numbers, dtype=np.float32))
    weights = {k: data.draw(row) for k in np.flatnonzero(path).tolist()}
    packed = pack_network(path, weights)
    found, blocks = read_network(message({NETWORK: packed}), len(path), FloatCoding(size))
    assert (found.dtype, found.tolist()) == (np.bool_, path.tolist())
    assert {k: value.tobytes() for k, value in blocks.items()} == {k: v.tobytes() for k, v in weights.items()}
    assert array_bits(packed) == 32 * size * int(path.sum()) + 8 * -(-len(path) // 8)
