"""One message for several devices, where one of Flower's nodes stands for a share of the population.

The record ``batch`` says for how many; the records of device ``k`` of the message are those of a message of its own,
under the names ``k.NAME``. The reply is built the same; where a device's program raised an exception its only record is
``k.error``. A node unpacks the message, handles all of its devices in one call, and packs their replies.
"""

from flwr.app import ConfigRecord, Message, RecordDict

from clients.fields import BadMessage, Field, check

BATCH, ERROR = "batch", "error"
MOST = 4096
"""Devices in one message."""
_BATCH_FIELDS = (Field("devices", int, "how many devices the message is for", 1, MOST),)
_ERROR_FIELDS = (Field("reason", str, "the exception that the device's program raised", 0, 10**6),)


def pack_batch(contents: list[RecordDict]) -> RecordDict:
    """The content of one message, from those of the messages to its devices; it shares their records."""
    out = RecordDict({BATCH: ConfigRecord({"devices": len(contents)})})
    for row, content in enumerate(contents):
        for name, record in content.items():
            out[f"{row}.{name}"] = record
    return out


def unpack_batch(content: RecordDict) -> list[RecordDict]:
    """The inverse; raises :class:`clients.fields.BadMessage` for a record that belongs to no device of the message."""
    count = check(BATCH, content.get(BATCH, ConfigRecord()), _BATCH_FIELDS)["devices"]
    contents = [RecordDict() for _ in range(count)]
    for name, record in content.items():
        row, dot, inner = name.partition(".")
        if name == BATCH:
            continue
        if not dot or not (row.isascii() and row.isdigit()) or int(row) >= count:
            raise BadMessage(f"the record {name[:80]!r} belongs to none of {count} devices")
        contents[int(row)][inner] = record
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
