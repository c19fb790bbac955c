"""Rule 1: a message with anything else in it, wrong shapes, or numbers that are not finite is rejected."""

from collections.abc import Callable

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from flwr.common.constant import ErrorCode

from clients.fields import MEASURED_FIELDS, BadMessage
from clients.messages import (
    RAISED,
    DeviceFault,
    DeviceLost,
    RequestRules,
    array_bits,
    pack_network,
    pack_refusal,
    pack_request,
    read_measured,
    read_network,
    read_request,
)
from models.coding import FloatCoding

PATH = np.array([True, False, True, True, False, False])
RULES = RequestRules(6)


def message(content: RecordDict) -> Message:
    return Message(content, dst_node_id=1, message_type="train")


def request() -> RecordDict:
    return RecordDict(pack_request(PATH, np.arange(64, dtype=np.float32), macs=7))


def test_a_request_is_64_floats_and_one_byte_of_path() -> None:
    asked = read_request(message(request()), RULES)
    assert asked.path.tolist() == PATH.tolist()
    assert asked.latent.tolist() == list(range(64))
    assert (asked.macs, asked.bits) == (7, 64 * 32 + 8)


def test_arrays_travel_as_flower_writes_them() -> None:
    """Whoever reads them with Flower's own means finds the same, and what Flower has written is read."""
    weights = np.arange(12, dtype=np.float32) - 5
    mine = pack_network(PATH, {0: weights, 2: weights[::-1], 3: weights * 2})
    theirs = ArrayRecord({name: Array(value.numpy()) for name, value in mine.items()})
    assert mine == theirs
    for record in (mine, theirs):
        path, found = read_network(message(RecordDict({"network": record})), blocks=6, coding=FloatCoding(12))
        assert path.tolist() == PATH.tolist()
        assert {k: value.tolist() for k, value in found.items()} == {
            0: weights.tolist(),
            2: weights[::-1].tolist(),
            3: (weights * 2).tolist(),
        }


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
        (infinite_measure, "macs is of type float"),
    ],
)
def test_anything_else_in_a_request_is_rejected(change: Callable[[RecordDict], None], why: str) -> None:
    content = request()
    change(content)
    with pytest.raises(BadMessage, match=why):
        read_request(message(content), RULES)


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("Traceback\nValueError: out of memory", "ValueError: out of memory"),
        ("", "no reason given"),
        (" \n", "no reason given"),
    ],
)
def test_an_error_reply_is_a_fault_and_no_breach_of_the_protocol(reason: str, said: str) -> None:
    failed = Message(Error(RAISED, reason), reply_to=message(request()))
    for read in (lambda reply: read_measured(reply, compared=False), lambda reply: read_request(reply, RULES)):
        with pytest.raises(DeviceFault, match=f"^{said}$"):
            read(failed)


DIED = (
    "<class 'ray.exceptions.ActorDiedError'>:<'The actor died unexpectedly before finishing this task.\n"
    "\tclass_name: ClientAppActor\nThe actor is dead because its worker process has died.'>"
)


@pytest.mark.parametrize(
    ("code", "reason", "said"),
    [
        (
            ErrorCode.UNKNOWN,
            DIED,
            "ActorDiedError: The actor died .* task. ... The actor is dead because its worker .* died.",
        ),
        (
            ErrorCode.UNKNOWN,
            "<class 'ray.exceptions.ActorUnavailableError'>:<'closed'>",
            "ActorUnavailableError: closed",
        ),
        (ErrorCode.NODE_UNAVAILABLE, "no heartbeat", "no heartbeat"),
        (ErrorCode.CLIENT_APP_CRASHED, "", "no reason given"),
    ],
)
def test_an_error_of_the_engine_says_that_it_lost_the_device(code: int, reason: str, said: str) -> None:
    with pytest.raises(DeviceLost, match=f"^{said}$"):
        read_measured(Message(Error(code, reason), reply_to=message(request())), compared=False)
    assert RAISED == ErrorCode.CLIENT_APP_RAISED_EXCEPTION


def test_a_refusal_is_a_fault_whose_reason_is_one_line() -> None:
    with pytest.raises(DeviceFault, match=r"^refused the message: a b c$"):
        read_request(message(RecordDict(pack_refusal("a b\n  c"))), RULES)
    forged = RecordDict({"refused": MetricRecord({"reason": 1})})
    with pytest.raises(BadMessage, match="reason is of type int"):
        read_request(message(forged), RULES)


GOOD = {field.name: field.kind(field.low) for field in MEASURED_FIELDS}


def test_measurements_are_exactly_the_named_numbers() -> None:
    assert read_measured(message(RecordDict({"measured": MetricRecord(GOOD)})), compared=False) == GOOD


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"ndcg": float("nan")}, "ndcg is nan"),
        ({"ndcg": 1}, "ndcg is of type int, expected float"),
        ({"hits": -1}, "hits is -1"),
        ({"hits": 0.9}, "hits is of type float, expected int"),
        ({"hits": 2**31}, "hits is 2147483648"),
        ({"served": 7}, "served is 7, expected 0 to 1"),
        ({"param_bits": 1e19}, "param_bits is of type float"),
        ({"param_bits": 10**19}, "param_bits is 10000000000000000000"),
        ({"macs": 10**9000}, "macs is an integer of 29898 bits"),
        ({"macs": [1, 2]}, "macs is of type list"),
        ({"extra": 1.0}, "holds 'extra'"),
        ({"hits_stale": 0}, "holds 'hits_stale'"),
    ],
)
def test_a_measurement_that_cannot_be_is_named(change: dict[str, float], why: str) -> None:
    with pytest.raises(BadMessage, match=why):
        read_measured(message(RecordDict({"measured": MetricRecord({**GOOD, **change})})), compared=False)
    with pytest.raises(BadMessage, match="lacks hits_stale, ndcg_stale"):
        read_measured(message(RecordDict({"measured": MetricRecord(GOOD)})), compared=True)


def test_a_network_carries_the_blocks_of_its_path_and_nothing_for_the_others() -> None:
    weights = {k: np.full(20_800, k, np.float32) for k in (0, 2, 3)}
    record = pack_network(PATH, weights)
    assert sorted(record) == ["block.0", "block.2", "block.3", "path"]
    assert array_bits(record) == 3 * 20_800 * 32 + 8
    path, received = read_network(message(RecordDict({"network": record})), blocks=6, coding=FloatCoding(20_800))
    assert path.tolist() == PATH.tolist()
    assert {k: float(v[0]) for k, v in received.items()} == {0: 0.0, 2: 2.0, 3: 3.0}
    assert array_bits(ArrayRecord()) == 0
