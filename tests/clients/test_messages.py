"""Rule 1: a message with anything else in it, wrong shapes, or numbers that are not finite is rejected."""

from collections.abc import Callable

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict

from clients.messages import (
    SESSION_MEASURES,
    BadMessage,
    array_bits,
    pack_network,
    pack_request,
    read_measured,
    read_network,
    read_request,
)

PATH = np.array([True, False, True, True, False, False])


def message(content: RecordDict) -> Message:
    return Message(content, dst_node_id=1, message_type="train")


def request() -> RecordDict:
    return RecordDict(pack_request(PATH, np.arange(64, dtype=np.float32), macs=7))


def test_a_request_is_64_floats_and_one_byte_of_path() -> None:
    asked = read_request(message(request()), blocks=6)
    assert asked.path.tolist() == PATH.tolist()
    assert asked.latent.tolist() == list(range(64))
    assert (asked.macs, asked.bits) == (7, 64 * 32 + 8)


def arrays(**changes: np.ndarray) -> Callable[[RecordDict], None]:
    def change(content: RecordDict) -> None:
        for name, value in changes.items():
            content["request"][name] = Array(value)

    return change


def replaced(name: str, **changes: object) -> Callable[[RecordDict], None]:
    """The array with another ``stype`` or other bytes than NumPy wrote."""

    def change(content: RecordDict) -> None:
        whole = content["request"][name]
        parts = {"dtype": whole.dtype, "shape": whole.shape, "stype": whole.stype, "data": whole.data}
        content["request"][name] = Array(**{**parts, **changes})  # type: ignore[arg-type]

    return change


def add_config(content: RecordDict) -> None:
    content["note"] = ConfigRecord({"items": [3, 5]})


def add_measure(content: RecordDict) -> None:
    content["measured"] = MetricRecord({"macs": 1, "last_item": 17})


def infinite_measure(content: RecordDict) -> None:
    content["measured"] = MetricRecord({"macs": float("inf")})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (arrays(latent=np.full(64, np.nan, np.float32)), "not finite"),
        (arrays(latent=np.zeros(63, np.float32)), "latent"),
        (arrays(latent=np.zeros(64, np.float64)), "latent"),
        (arrays(path=np.zeros(2, np.uint8)), "path"),
        (arrays(path=np.array([64], np.uint8)), "beyond"),
        (arrays(sequence=np.arange(5)), "exactly the arrays"),
        (replaced("latent", stype="torch.tensor"), "latent cannot be read"),
        (replaced("latent", data=b"garbage"), "latent cannot be read"),
        (replaced("latent", data=b""), "latent cannot be read"),
        (replaced("path", data=b"PK\x03\x04 is how an archive begins"), "path cannot be read"),
        (add_config, "records"),
        (add_measure, "measured"),
        (infinite_measure, "measured"),
    ],
)
def test_anything_else_in_a_request_is_rejected(change: Callable[[RecordDict], None], why: str) -> None:
    content = request()
    change(content)
    with pytest.raises(BadMessage, match=why):
        read_request(message(content), blocks=6)


def test_an_error_reply_is_rejected_with_its_reason() -> None:
    failed = Message(Error(3, "Traceback\nValueError: out of memory"), reply_to=message(request()))
    with pytest.raises(BadMessage, match="out of memory"):
        read_request(failed, blocks=6)


@pytest.mark.parametrize("reason", ["", " \n"])
def test_an_error_reply_without_a_reason_is_rejected_too(reason: str) -> None:
    for read in (read_measured, lambda failed: read_request(failed, blocks=6)):
        with pytest.raises(BadMessage, match="no reason given"):
            read(Message(Error(3, reason), reply_to=message(request())))


def test_measurements_are_numbers_of_at_least_zero_under_known_names() -> None:
    good = dict.fromkeys(SESSION_MEASURES, 1.0)
    assert read_measured(message(RecordDict({"measured": MetricRecord(good)}))) == good
    for bad in ({**good, "events": float("nan")}, {**good, "hits": -1.0}, {**good, "extra": 1.0}, {"events": 1.0}):
        with pytest.raises(BadMessage):
            read_measured(message(RecordDict({"measured": MetricRecord(bad)})))


def test_a_network_carries_the_blocks_of_its_path_and_nothing_for_the_others() -> None:
    weights = {k: np.full(20_800, k, np.float32) for k in (0, 2, 3)}
    record = pack_network(PATH, weights)
    assert sorted(record) == ["block.0", "block.2", "block.3", "path"]
    assert array_bits(record) == 3 * 20_800 * 32 + 8
    path, received = read_network(message(RecordDict({"network": record})), blocks=6)
    assert path.tolist() == PATH.tolist()
    assert {k: float(v[0]) for k, v in received.items()} == {0: 0.0, 2: 2.0, 3: 3.0}
    assert array_bits(ArrayRecord()) == 0
