"""Ways to alter a message: another value, type, size or key anywhere in its records, or another envelope."""

import copy
import math
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict

NUMBERS: tuple[Any, ...] = (
    *(-1, 0, 1, 2, 3, 7, 40, 1000, 2**31 - 1, 2**31, 2**40 - 1, 2**53, 2**63 - 1, 2**63, 2**64, 10**400),
    *(-1.0, -0.0, 0.0, 0.5, 0.9, 1.0, 3.0, 1e12, 1e19, 1e300, math.inf, -math.inf, math.nan),
)
Alteration = Callable[[RecordDict, Random], str]
"""Changes the records of a message, and says which field it changed."""


def alter_number(content: RecordDict, random: Random) -> str:
    """Another value for one field of one record of numbers."""
    name = random.choice([name for name, record in content.items() if not isinstance(record, ArrayRecord)])
    record: Any = content[name]
    key = random.choice(sorted(record))
    honest = record[key]
    near: list[Any] = [] if isinstance(honest, str | bool) else [honest + 1, honest - 1, float(honest), honest * 2]
    if isinstance(record, ConfigRecord):
        near += ["", "nowhere", "never", "every:2", "mrd", "\0", "x" * 5000, True, False, b"1", [1, 2], ["a"]]
    else:
        near += [[1], [0.5], []]
    value = random.choice([*NUMBERS, *near])
    record[key] = value
    return f"{name}.{key}"


def alter_keys(content: RecordDict, random: Random) -> str:
    """One field too few or too many in a record of numbers."""
    name = random.choice([name for name, record in content.items() if not isinstance(record, ArrayRecord)])
    record: Any = content[name]
    if random.random() < 0.5:
        del record[random.choice(sorted(record))]
    else:
        record[random.choice(["last_item", "probe", "hits_stale", "compare", "x" * 300])] = random.choice([0, 1, 17])
    return f"{name} (fields)"


def alter_records(content: RecordDict, random: Random) -> str:
    """A record too few, too many, or of another kind."""
    name = random.choice(sorted(content))
    what = random.random()
    if what < 0.3:
        del content[name]
    elif what < 0.6:
        kinds = (ConfigRecord({"items": [3, 5]}), MetricRecord({"macs": 1}), ArrayRecord())
        content[random.choice(["note", "measured", "request", "network", "budget", "policy"])] = random.choice(kinds)
    else:
        other: Any = random.choice([ConfigRecord({"macs": True}), MetricRecord({"macs": 1}), ArrayRecord()])
        content[name] = other
    return "records"


def alter_array(content: RecordDict, random: Random) -> str:
    """Other numbers, types, sizes or bytes in one array; or an array too few or too many."""
    names = [name for name, record in content.items() if isinstance(record, ArrayRecord) and len(record)]
    if not names:
        return alter_keys(content, random)
    record = content.array_records[random.choice(names)]
    key = random.choice(sorted(record))
    raw = record[key].stype != "numpy.ndarray"
    array = np.frombuffer(record[key].data, "<i4").copy() if raw else record[key].numpy().copy()
    parts: dict[str, Any] = {
        "dtype": record[key].dtype,
        "shape": record[key].shape,
        "stype": record[key].stype,
        "data": record[key].data,
    }
    odd = random.choice([math.nan, math.inf, -math.inf, 3e38, 5.0, 1.5, -2.0, 0.25, 1.0])
    changed: list[Callable[[], Array | None]] = [
        lambda: Array(_with(array, random.randrange(array.size), odd)),
        lambda: Array(np.full_like(array, random.randrange(256) if array.dtype == np.uint8 else odd)),
        lambda: Array(array[:-1]),
        lambda: Array(np.concatenate([array, array])),
        lambda: Array(array.reshape(1, -1)),
        lambda: Array(array.astype(random.choice([np.float64, np.int64, np.float16]))),
        lambda: Array(**{**parts, "stype": "torch.tensor"}),
        lambda: Array(**{**parts, "data": random.choice([b"", b"garbage", b"PK\3\4", parts["data"][:-3]])}),
        lambda: Array(**{**parts, "data": parts["data"] + b"\0" * 5000}),
        lambda: Array(**{**parts, "dtype": random.choice(["float64", "object", "nonsense"])}),
        lambda: Array(**{**parts, "shape": (10**12,)}),
        lambda: None,
    ]
    made = random.choice(changed)()
    if made is None and random.random() < 0.5:
        del record[key]
    elif made is None:
        record[random.choice(["history", "block.99", "block.0", "block.-1", "code.0", "scale.0"])] = Array(array)
    else:
        record[key] = made
    return f"array {key.partition('.')[0]}"


def _with(array: np.ndarray, place: int, value: float) -> np.ndarray:
    array.flat[place] = value if array.dtype.kind == "f" else int(abs(value)) % 256 if math.isfinite(value) else 255
    return array


CONTENT: tuple[Alteration, ...] = (alter_number, alter_number, alter_number, alter_keys, alter_records, alter_array)


def alter_envelope(reply: Message, random: Random) -> tuple[list[Message], str]:
    """Another type, another message, no content, an error, a refusal, two replies, or none; with the verdict due."""
    changed = copy.copy(reply)
    changed.__dict__["_metadata"] = copy.copy(reply.metadata)
    changed.__dict__["_metadata"].__dict__ = dict(reply.metadata.__dict__)
    kind = random.choice(["type", "other message", "no content", "error", "refusal", "twice", "none", "unknown node"])
    if kind == "type":
        changed.metadata.__dict__["_message_type"] = random.choice(["query", "evaluate.other", "", "x" * 500])
    elif kind == "other message":
        changed.metadata.__dict__["_reply_to_message_id"] = random.choice(["", "12345", reply.metadata.message_id])
    elif kind == "no content":
        changed.__dict__["_content"] = None
    elif kind == "error":
        changed.__dict__["_content"], changed.__dict__["_error"] = (
            None,
            Error(0, random.choice(["", "a\nb", "x" * 9999])),
        )
    elif kind == "refusal":
        changed.__dict__["_content"] = RecordDict({"refused": ConfigRecord({"reason": "no\nway"})})
    elif kind == "twice":
        return [reply, changed], kind
    elif kind == "none":
        return [], kind
    else:
        changed.metadata.__dict__["_src_node_id"] = 17
    return [changed], kind


DUE = {"error": "lost", "refusal": "failed", "none": "lost", "unknown node": "lost"}
"""Statuses of the sessions whose reply has another envelope; the others are rejected."""
