"""One message for several devices: what each is told comes back as it was, and nothing else is taken for it."""

import json

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict

from clients.batch_messages import pack_batch, unpack_batch
from clients.fields import BadMessage

TOLD = [
    RecordDict(
        {
            "session": ConfigRecord({"device": 3, "ceiling": float("inf"), "name": "ü", "whole": True, "few": [1, 2]}),
            "network": ArrayRecord(
                {"path": Array(np.array([True, False])), "block.0": Array(np.linspace(0, 1, 7, dtype=np.float32))}
            ),
            "empty": ArrayRecord(),
        }
    ),
    RecordDict(),
    RecordDict({"measured": MetricRecord({"macs": 2**52, "ndcg": 0.1 + 0.2}), "path": ArrayRecord()}),
]


def test_what_each_device_is_told_comes_back_to_the_last_bit_and_type() -> None:
    found = unpack_batch(pack_batch(TOLD))
    assert [list(content) for content in found] == [list(content) for content in TOLD]
    for mine, told in zip(found, TOLD, strict=True):
        for name, record in told.items():
            assert type(mine[name]) is type(record)
            assert list(mine[name]) == list(record)
            for key, value in record.items():
                again = mine[name][key]
                if isinstance(value, Array):
                    assert (again.dtype, tuple(again.shape), again.stype) == (
                        value.dtype,
                        tuple(value.shape),
                        "numpy.ndarray",
                    )
                    assert np.array_equal(again.numpy(), value.numpy())
                else:
                    assert (type(again), again) == (type(value), value)


@pytest.mark.parametrize("devices", [1, 50])
def test_a_message_has_as_many_records_and_arrays_for_fifty_devices_as_for_one(devices: int) -> None:
    """Flower moves each by a request of its own."""
    content = pack_batch(TOLD[:1] * devices)
    assert sorted(content) == ["batch", "contents"]
    assert list(content["contents"]) == ["contents"]
    assert len(unpack_batch(content)) == devices


def changed(
    header: object = None, cut: int = 0, more: bytes = b"", devices: int = 3, size: int | None = None
) -> RecordDict:
    """The message to :data:`TOLD` with another header, bytes cut off or put on, or another count."""
    packed = pack_batch(TOLD)
    whole, length = packed["contents"]["contents"].data, packed["batch"]["header"]
    text = whole[:length] if header is None else json.dumps(header).encode()
    data = (text + whole[length:])[: len(text) + len(whole) - length - cut] + more
    told = ConfigRecord({"devices": devices, "header": len(text) if size is None else size})
    return RecordDict(
        {"batch": told, "contents": ArrayRecord({"contents": Array("uint8", (len(data),), "bytes", data)})}
    )


def array(size: object) -> list[object]:
    return [{"network": ["arrays", {"path": ["bool", [2], "numpy.ndarray", size]}]}, {}, {}]


@pytest.mark.parametrize(
    "content",
    [
        RecordDict(),
        RecordDict({"batch": ConfigRecord({"devices": 1, "header": 2})}),
        RecordDict({"batch": ConfigRecord({"devices": 1, "header": 2}), "contents": ConfigRecord({"contents": b"[]"})}),
        RecordDict({**pack_batch(TOLD), "another": ConfigRecord()}),
        changed(cut=1),
        changed(more=b"x"),
        changed(devices=2),
        changed(size=7),
        changed(size=2**30),
        changed(header={}),
        changed(header=[1, 2, 3]),
        changed(header=[{"session": ["config", {"device": None}]}, {}, {}]),
        changed(header=[{"session": ["pickle", {}]}, {}, {}]),
        changed(header=[{"measured": ["metrics", {"macs": "many"}]}, {}, {}]),
        changed(header=array(-1)),
        changed(header=array(2**40)),
        changed(header=array(1.0)),
        changed(header=array(None)),
    ],
)
def test_anything_else_is_refused(content: RecordDict) -> None:
    with pytest.raises(BadMessage) as refused:
        unpack_batch(content)
    assert len(str(refused.value).splitlines()) == 1
