"""One message for several devices, where one of Flower's nodes stands for a share of the population.

The record ``batch`` says for how many; the one array of the record ``contents`` holds what each of them would be told
by a message of its own: a header, JSON, with the records of each device (numbers and texts as they are, of an array its
type, shape, format and number of bytes), and after it the bytes of the arrays in the header's order. Flower moves a
message in pieces, with a request for each record, each array and each of its parts: one array takes a few.

The reply is built the same; where a device's program raised an exception its only record is ``error``. A node unpacks
the message, handles all of its devices in one call, and packs their replies.
"""

import json
from typing import Any

from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

from clients.fields import BadMessage, Field, check, shown

BATCH, CONTENTS, ERROR = "batch", "contents", "error"
MOST = 4096
"""Devices in one message."""
_BATCH_FIELDS = (
    Field("devices", int, "how many devices the message is for", 1, MOST),
    Field("header", int, "bytes of the header", 2, 2**31),
)
_ERROR_FIELDS = (Field("reason", str, "the exception that the device's program raised", 0, 10**6),)
_KINDS: dict[str, type[ConfigRecord] | type[MetricRecord]] = {"config": ConfigRecord, "metrics": MetricRecord}
_ARRAYS, _BYTES = "arrays", "bytes"


def pack_batch(contents: list[RecordDict]) -> RecordDict:
    """The content of one message, from those of the messages to its devices."""
    header: list[dict[str, tuple[str, dict[str, Any]]]] = []
    data: list[bytes] = []
    for content in contents:
        records: dict[str, tuple[str, dict[str, Any]]] = {}
        for name, record in content.items():
            if isinstance(record, ArrayRecord):
                arrays: dict[str, Array] = dict(record.items())
                told = {key: (one.dtype, one.shape, one.stype, len(one.data)) for key, one in arrays.items()}
                data += [one.data for one in arrays.values()]
                records[name] = _ARRAYS, told
            else:
                kind = next(word for word, kind in _KINDS.items() if isinstance(record, kind))
                records[name] = kind, dict(record.items())
        header.append(records)
    text = json.dumps(header).encode()
    whole = b"".join((text, *data))
    return RecordDict(
        {
            BATCH: ConfigRecord({"devices": len(contents), "header": len(text)}),
            CONTENTS: ArrayRecord({CONTENTS: Array("uint8", (len(whole),), _BYTES, whole)}),
        }
    )


def unpack_batch(content: RecordDict) -> list[RecordDict]:
    """The inverse; raises :class:`clients.fields.BadMessage` for anything that :func:`pack_batch` does not give."""
    if set(content) != {BATCH, CONTENTS}:
        raise BadMessage(f"holds the records {shown(sorted(content))}, expected exactly {sorted((BATCH, CONTENTS))}")
    told = check(BATCH, content[BATCH], _BATCH_FIELDS)
    try:
        whole = memoryview(content.array_records[CONTENTS][CONTENTS].data)
        header, at = json.loads(bytes(whole[: told["header"]])), told["header"]
        contents = []
        for records in header:
            contents.append(RecordDict())
            for name, (kind, values) in records.items():
                if kind != _ARRAYS:
                    contents[-1][name] = _KINDS[kind](values)
                    continue
                arrays = {}
                for key, (dtype, shape, stype, size) in values.items():
                    if type(size) is not int or not 0 <= size <= len(whole) - at:
                        raise BadMessage(f"'{CONTENTS}' ends before its arrays do")
                    arrays[key] = Array(dtype, tuple(shape), stype, bytes(whole[at : at + size]))
                    at += size
                contents[-1][name] = ArrayRecord(arrays)
    except BadMessage:
        raise
    except Exception as error:  # the bytes are the sender's, and what they raise is Flower's or Python's choice
        raise BadMessage(f"'{CONTENTS}' cannot be read: {shown(str(error))}") from error
    if len(contents) != told["devices"] or at != len(whole):
        raise BadMessage(f"'{CONTENTS}' holds other devices or other bytes than it says")
    return contents


def is_batch(message: Message) -> bool:
    """Whether the message is for several devices."""
    return message.has_content() and BATCH in message.content


def pack_error(reason: str) -> RecordDict:
    """In place of the reply of a device whose program raised an exception."""
    return RecordDict({ERROR: ConfigRecord({"reason": reason})})


def read_error(content: RecordDict) -> str | None:
    """The reason, if it is such a one; raises :class:`clients.fields.BadMessage` if it is not what it should be."""
    return str(check(ERROR, content[ERROR], _ERROR_FIELDS)["reason"]) if set(content) == {ERROR} else None
