"""A device's stream in a message: its items before the session and in it, as the simulation's private partition.

The stream is the device's own. The simulation hands it to the device that it simulates, beside its budget; the cloud
neither sends nor reads it. A device that has a file of its own (``stream`` in its node's configuration) reads that.
"""

import numpy as np
from flwr.app import Array, ArrayRecord

from clients.fields import BadMessage, shown

STREAM = "stream"
TYPES = "types"
"""The record, beside the stream, that tells an oracle what no device knows: its user's type, event by event."""
_ITEMS = np.dtype("<i4")
_RAW = "items"
"""Flower's ``stype`` of these arrays: the numbers as they lie in memory, little-endian. NumPy's format costs a hundred
microseconds a message to write and to read, a tenth of what a session costs."""


def pack_stream(past: np.ndarray, now: np.ndarray) -> ArrayRecord:
    """The record of the items ``past`` ``(P,)`` before a session and ``now`` ``(R,)`` in it."""
    return ArrayRecord({"past": _packed(past), "now": _packed(now)})


def read_stream(record: object, num_items: int) -> tuple[np.ndarray, np.ndarray]:
    """The items before the session ``(P,)`` and in it ``(R,)``, int32, read-only.

    Raises :class:`clients.fields.BadMessage` for anything else than two such arrays of items from 1 to ``num_items``,
    and for a session of no items.
    """
    if not isinstance(record, ArrayRecord) or set(record) != {"past", "now"}:
        raise BadMessage(f"'{STREAM}' must hold exactly the arrays past and now")
    past, now = _read("past", record["past"], num_items), _read("now", record["now"], num_items)
    if not len(now):
        raise BadMessage("now is empty, expected the items of a session")
    return past, now


def pack_types(types: np.ndarray) -> ArrayRecord:
    """The record of the types ``(R,)``, from 1, that are in force at the events of a session."""
    return ArrayRecord({"types": _packed(types)})


def read_types(record: object) -> np.ndarray:
    """The types at the events of a session ``(R,)``, int32, read-only; raises :class:`clients.fields.BadMessage` for
    anything else than one such array."""
    if not isinstance(record, ArrayRecord) or set(record) != {"types"}:
        raise BadMessage(f"'{TYPES}' must hold exactly the array types")
    return _read("types", record["types"], np.iinfo(_ITEMS).max)


def _packed(items: np.ndarray) -> Array:
    return Array("int32", items.shape, _RAW, items.astype(_ITEMS, copy=False).tobytes())


def _read(name: str, array: Array, num_items: int) -> np.ndarray:
    shape = tuple(array.shape)
    if array.dtype != "int32" or array.stype != _RAW or len(shape) != 1:
        raise BadMessage(f"{name} is {shown(array.dtype)} {shown(shape)} as {shown(array.stype)}, expected int32 (n,)")
    if len(array.data) != _ITEMS.itemsize * shape[0]:
        raise BadMessage(f"{name} has {len(array.data)} bytes, expected {_ITEMS.itemsize} for each of {shape[0]} items")
    items = np.frombuffer(array.data, dtype=_ITEMS)
    if len(items) and not (items.min() >= 1 and items.max() <= num_items):
        raise BadMessage(f"{name} holds items beyond 1 to {num_items}")
    return items
