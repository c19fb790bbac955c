"""What devices and cloud say to each other: the records of every message, packed and checked.

=====================  ==============  ==========================================================================
record                 kind            content
=====================  ==============  ==========================================================================
``model`` (down)       ConfigRecord    with which model to play: the digest of the file that is installed, and its sizes
``session`` (down)     ConfigRecord    which session of which device to play (:mod:`clients.session_config`); this and
                                       the next five are the simulation's: it adds them, the cloud never reads them
``stream`` (down)      ArrayRecord     ``past`` and ``now``: the device's items before and in that session
``budget`` (down)      ConfigRecord    what the device can afford today (:mod:`clients.budget`)
``policy`` (down)      ConfigRecord    by what the device decides whether to ask (:mod:`clients.decision`)
``evaluation`` (down)  ConfigRecord    what the simulator measures besides (:mod:`clients.evaluation`)
``upload`` (down)      ConfigRecord    in which form it sends its latent interest (:mod:`clients.upload`)
``request`` (up)       ArrayRecord     ``path``: the blocks of the path, one bit each; ``latent``: 64 float32, or what
                                       a defence leaves of them
``network`` (down)     ArrayRecord     ``path``, and of each block in it what :mod:`models.coding` says: ``block.k``,
                                        float32 weights, or in the precision of the device
``code`` (down)        ArrayRecord     in its place where bases are installed: ``path``, ``code.k``: gains and shifts of
                                       the layers of each block in it, float32, float16 or int8, and ``scale.k`` with
                                       int8: the float32 scale of each piece (:mod:`models.delivery`)
``install`` (down)     ArrayRecord     files to install (:mod:`clients.depot`), each by its digest: uint8
``measured`` (up)      MetricRecord    the device's own measurements, numbers only
``missing`` (up)       ConfigRecord    in place of an answer: what is not installed on the device's machine
``refused`` (up)       ConfigRecord    in place of an answer: why the device does not do what it was told
=====================  ==============  ==========================================================================

No message holds a path of a file system, and none to the cloud an item id, a sequence or an embedding. The fields are
listed in :mod:`clients.fields`. Whoever receives a message checks all of it: :class:`BadMessage` says what breaks the
protocol, :class:`DeviceFault` that the device could not do what it was told. Where one of Flower's nodes stands for
several devices, one message carries theirs (:mod:`clients.batch_messages`).
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, Metadata, MetricRecord, RecordDict
from torch import Tensor

from clients.faults import without_paths
from clients.fields import (
    COMPARED_FIELDS,
    MEASURED_FIELDS,
    MODEL_FIELDS,
    PROBE_FIELD,
    REFUSED_FIELDS,
    REQUEST_FIELDS,
    SAMPLED_FIELDS,
    BadMessage,
    check,
    check_digest,
    shown,
)
from clients.upload import PLAIN, UploadForm, read_latent
from models.coding import BLOCK, Coding
from models.delivery import NUMBERS, decode, encode

MODEL, REQUEST, NETWORK, MEASURED, REFUSED = "model", "request", "network", "measured", "refused"
CODE = "code"
"""In place of the network, where devices make it of a code."""
_NUMPY = "numpy.ndarray"
"""Flower's ``stype`` of an array in NumPy's own format."""
PROBE = PROBE_FIELD.name
"""Accompanies what is no request of the device but a measurement of the simulator's (``--compare-stale``)."""
COMPARED = tuple(field.name for field in COMPARED_FIELDS)
"""What a device reports beside its measurements where the simulator compares the stale network with the fresh one."""
SAMPLED = tuple(field.name for field in SAMPLED_FIELDS)
"""What it reports of ranks among sampled candidates."""
Measured = dict[str, int | float]
"""What a device measured over a session, by the names of :data:`clients.fields.MEASURED_FIELDS`."""


RAISED = 2
"""Flower's code of an error that a device's program raised; Flower exports no name for it."""
_OF_PROGRAM = (1, RAISED, 6, 7)
"""Flower's codes of errors of what is installed on a machine; all others say that the engine lost the device."""


class DeviceFault(Exception):
    """A device could not do what it was told; the text is one line that says why.

    Either its program raised an exception, or it refused the message. Both are faults of this program, not of a device
    that breaks the protocol.
    """


class DeviceLost(DeviceFault):
    """The engine says that it lost the device: a process, a machine, or the way there."""


@dataclass(frozen=True)
class ModelConfig:
    """The installed model that a device plays with."""

    digest: str
    """SHA-256 of its file, in hexadecimal digits."""
    context: int
    history_length: int
    """Items that the extractors read."""

    def record(self) -> ConfigRecord:
        """As it travels."""
        return ConfigRecord(dict(vars(self)))

    @staticmethod
    def of(message: Message) -> "ModelConfig":
        """Check it and read it back on the device; raises :class:`BadMessage`."""
        if MODEL not in message.content:
            raise BadMessage(f"the record '{MODEL}' is missing")
        config = ModelConfig(**check(MODEL, message.content[MODEL], MODEL_FIELDS))
        check_digest("digest", config.digest)
        return config


@dataclass(frozen=True, eq=False)
class DeviceRequest:
    """A checked request of one device."""

    path: np.ndarray
    """``(L,)`` bool."""
    latent: np.ndarray
    """``(64,)`` float32; ``(0,)`` where the path alone was sent."""
    macs: int
    bits: int
    """Size of its arrays."""
    probe: bool = False
    """Not asked by the device, but by the simulator for a comparison."""

    def __eq__(self, other: object) -> bool:
        """Whether both say the same, number by number."""
        if not isinstance(other, DeviceRequest):
            return NotImplemented
        mine, others = (
            (one.path.tolist(), one.latent.tolist(), one.macs, one.bits, one.probe) for one in (self, other)
        )
        return mine == others

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Decline:
    """The checked answer of a device that asks for nothing."""

    macs: int
    """Multiply-accumulates that it took the device to decide so."""


@dataclass(frozen=True)
class RequestRules:
    """What the cloud knows of a request before it arrives."""

    blocks: int
    """How many the backbone has."""
    everything: bool = False
    """Whether all blocks must be asked for, as devices without a controller do."""
    latent: float = np.inf
    """No number of a latent interest is larger."""
    macs: Collection[int] | None = None
    """What the extractors and the decision may take; None: anything."""
    macs_unasked: Collection[int] | None = None
    """What deciding to ask for nothing may take, likewise."""
    upload: UploadForm = PLAIN
    """In which form the latent interest comes."""
    probes: bool = False
    """Whether the simulator compares, so that it makes requests in the name of devices that do not ask."""


def pack_request(
    path: np.ndarray, latent: np.ndarray, macs: int, form: UploadForm = PLAIN
) -> dict[str, ArrayRecord | MetricRecord]:
    """The records of a request: ``path`` ``(L,)`` bool, ``latent`` ``(64,)`` as the device gives it away."""
    arrays = {"path": _packed(np.packbits(path, bitorder="little")), **form.pack(latent)}
    return {REQUEST: ArrayRecord(arrays), MEASURED: MetricRecord({"macs": macs})}


def pack_probe(
    path: np.ndarray, latent: np.ndarray, macs: int, form: UploadForm = PLAIN
) -> dict[str, ArrayRecord | MetricRecord]:
    """A request that the simulator makes in the name of a device that asks for nothing; ``macs`` as of a decline."""
    return {**pack_request(path, latent, macs, form), MEASURED: MetricRecord({"macs": macs, PROBE: 1})}


def pack_decline(macs: int = 0) -> dict[str, MetricRecord]:
    """The answer of a device that asks for nothing this time; ``macs`` is what it took to decide."""
    return {MEASURED: MetricRecord({"macs": macs})}


def pack_refusal(reason: str) -> dict[str, ConfigRecord]:
    """The answer of a device that cannot do what it was told."""
    return {REFUSED: ConfigRecord({"reason": without_paths(reason)})}


def check_answers(reply: Message, sent: Metadata) -> None:
    """Raise :class:`BadMessage` if ``reply`` is not the answer to the message with the metadata ``sent``."""
    if reply.metadata.reply_to_message_id != sent.message_id:
        raise BadMessage("the reply belongs to another message")
    if reply.metadata.message_type != sent.message_type:
        kinds = shown(reply.metadata.message_type), sent.message_type
        raise BadMessage(f"the reply is of message type {kinds[0]}, expected '{kinds[1]}'")


def content_of(reply: Message) -> RecordDict:
    """The records of a reply.

    Raises :class:`DeviceFault` if it says that the device could not do what it was told, :class:`DeviceLost` if it
    comes from the engine in the device's place, :class:`BadMessage` if there is nothing in it.
    """
    if reply.has_error():
        lines = _COLOURS.sub("", str(reply.error.reason or "")).strip().splitlines() or ["no reason given"]
        if reply.error.code not in _OF_PROGRAM:
            if _EXCEPTION.match(lines[0]):
                lines[-1] = lines[-1].removesuffix("'>")
            raise DeviceLost(
                _line(_EXCEPTION.sub(r"\1: ", lines[0])) + (f" ... {_line(lines[-1])}" if lines[1:] else "")
            )
        raise DeviceFault(_line(lines[-1] if lines[0].startswith("Traceback") else " ".join(lines)))
    if not reply.has_content():
        raise BadMessage("the reply has no content")
    content: RecordDict = reply.content
    if set(content) == {REFUSED}:
        reason = check(REFUSED, content[REFUSED], REFUSED_FIELDS)["reason"]
        raise DeviceFault(f"refused the message: {_line(reason)}")
    return content


def read_request(reply: Message, rules: RequestRules) -> DeviceRequest | Decline:
    """Check the answer of a device that was asked for its request, and read it.

    Raises :class:`BadMessage` for any record or field beside the named ones, wrong shapes, types or ranges, and numbers
    that are not finite; :class:`DeviceFault` as :func:`content_of`.
    """
    content = content_of(reply)
    if set(content) == {MEASURED}:
        macs = check(MEASURED, content[MEASURED], REQUEST_FIELDS)["macs"]
        _one_of("macs", macs, rules.macs_unasked)
        return Decline(macs)
    _only(content, {REQUEST, MEASURED})
    arrays = content[REQUEST]
    if not isinstance(arrays, ArrayRecord) or set(arrays) != {"path", *rules.upload.arrays}:
        names = " and ".join(["path", *sorted(rules.upload.arrays)])
        raise BadMessage(f"'{REQUEST}' must hold exactly the arrays {names}")
    path = _path(arrays, rules.blocks)
    if rules.everything and not path.all():
        raise BadMessage(f"path leaves out blocks; the model knows networks of all {rules.blocks} alone")
    latent = read_latent(arrays, rules.upload, _array)
    if (largest := float(np.abs(latent).max(initial=0))) > rules.latent:
        raise BadMessage(f"latent holds {largest:g}, expected at most {rules.latent:g}")
    probe = isinstance(content[MEASURED], MetricRecord) and PROBE in content[MEASURED]
    if probe and not rules.probes:
        raise BadMessage(f"{PROBE} in a run that compares nothing")
    fields = (*REQUEST_FIELDS, PROBE_FIELD) if probe else REQUEST_FIELDS
    macs = check(MEASURED, content[MEASURED], fields)["macs"]
    _one_of("macs", macs, rules.macs_unasked if probe else rules.macs)
    return DeviceRequest(path, latent, macs, array_bits(arrays), probe)


def pack_network(path: np.ndarray, weights: dict[int, np.ndarray], coding: Coding | None = None) -> ArrayRecord:
    """The network of one device: ``weights[k]`` for each block ``k`` in its path, as ``coding`` sends it; as it is
    without one."""
    arrays = {"path": _packed(np.packbits(path, bitorder="little"))}
    for k, block in weights.items():
        sent = {BLOCK: block} if coding is None else coding.pack(block)
        arrays.update({f"{name}.{k}": _packed(value) for name, value in sent.items()})
    return ArrayRecord(arrays)


def read_network(message: Message, blocks: int, coding: Coding) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """The path ``(L,)`` bool and its blocks, checked as the device received them.

    Raises :class:`BadMessage` for a path that is none of the backbone's, for blocks that it does not name or that are
    missing, and for arrays of another type or number than ``coding`` has, or that are not finite or off its grid.
    """
    path, record = _blocks(message, NETWORK, blocks, list(coding.shapes))
    run = np.flatnonzero(path).tolist()
    return path, {k: _block(record, k, coding) for k in run}


def _block(record: ArrayRecord, k: int, coding: Coding) -> np.ndarray:
    arrays = {name: _array(record, f"{name}.{k}", *shape) for name, shape in coding.shapes.items()}
    try:
        return coding.unpack(arrays)
    except ValueError as error:
        raise BadMessage(f"block {k}: {error}") from error


def pack_code(path: np.ndarray, codes: Mapping[int, Tensor], pieces: Sequence[int], bits: int) -> ArrayRecord:
    """The network of one device as a code: ``codes[k]`` ``(C,)``, of these ``pieces``, for each block in its path."""
    arrays = {"path": Array(np.packbits(path, bitorder="little"))}
    for k, code in codes.items():
        numbers, scales = encode(code, pieces, bits)
        arrays[f"code.{k}"] = Array(numbers.numpy())
        if scales is not None:
            arrays[f"scale.{k}"] = Array(scales.numpy())
    return ArrayRecord(arrays)


def read_code(message: Message, blocks: int, pieces: Sequence[int], bits: int) -> tuple[np.ndarray, dict[int, Tensor]]:
    """The path ``(L,)`` bool and the codes ``(C,)`` of its blocks, checked as the device received them.

    Raises :class:`BadMessage` as :func:`read_network`.
    """
    path, record = _blocks(message, CODE, blocks, ["code", "scale"] if bits == 8 else ["code"])
    dtype, codes = np.dtype(str(NUMBERS[bits]).removeprefix("torch.")), {}
    for k in np.flatnonzero(path).tolist():
        numbers, scales = torch.from_numpy(_array(record, f"code.{k}", dtype, (sum(pieces),)).copy()), None
        if bits == 8:
            scales = torch.from_numpy(_array(record, f"scale.{k}", np.dtype(np.float32), (len(pieces),)).copy())
            if float(scales.min()) < 0:
                raise BadMessage(f"scale.{k} holds {float(scales.min()):g}, expected at least 0")
        codes[k] = decode(numbers, scales, pieces)
        if not bool(codes[k].isfinite().all()):
            raise BadMessage(f"code.{k} times scale.{k} is not finite")
    return path, codes


def sent_path(record: ArrayRecord) -> int:
    """The path of a network or a code that this module made, as a number: bit 0 is the first block."""
    return int.from_bytes(record["path"].numpy().tobytes(), "little")


def array_bits(record: ArrayRecord) -> int:
    """Bits of the numbers in a record, without Flower's framing."""
    return sum(8 * int(np.prod(a.shape)) * np.dtype(a.dtype).itemsize for a in record.values())


def read_measured(reply: Message, compared: bool, sampled: bool = False) -> Measured:
    """Check and read what a device measured over a session, with the comparisons if it was ``compared``, and with the
    ranks among ``sampled`` candidates if there are such.

    Every field is there, of its type and in its range; :mod:`strategies.expectation` checks the rest. Raises as
    :func:`read_request`.
    """
    content = content_of(reply)
    _only(content, {MEASURED})
    fields = (*MEASURED_FIELDS, *(COMPARED_FIELDS if compared else ()), *(SAMPLED_FIELDS if sampled else ()))
    return check(MEASURED, content[MEASURED], fields)


def _line(text: str) -> str:
    """``text`` as one line of at most 500 characters."""
    return " ".join(text.split())[:500]


_COLOURS = re.compile("\x1b\\[[0-9;]*m")
_EXCEPTION = re.compile(r"^<class '(?:\w+\.)*([\w()]+)'>:<'")
"""How Flower begins the reason of an error, which it ends with ``'>``."""


def _only(content: RecordDict, names: set[str]) -> None:
    if set(content) != names:
        raise BadMessage(f"holds the records {shown(sorted(content))}, expected exactly {sorted(names)}")


def _one_of(name: str, value: int, allowed: Collection[int] | None) -> None:
    if allowed is not None and value not in allowed:
        raise BadMessage(f"{name} is {shown(value)}, expected {' or '.join(map(str, sorted(allowed)))}")


def _blocks(message: Message, name: str, blocks: int, kinds: Sequence[str]) -> tuple[np.ndarray, ArrayRecord]:
    """The path in the record ``name``, and the record, which has an array of each kind for each block of the path."""
    record = message.content[name]
    if not isinstance(record, ArrayRecord) or "path" not in record:
        raise BadMessage(f"'{name}' must hold arrays, and among them a path")
    path = _path(record, blocks)
    expected = {"path", *(f"{kind}.{k}" for k in np.flatnonzero(path).tolist() for kind in kinds)}
    if missing := sorted(expected - set(record)):
        raise BadMessage(f"'{name}' lacks {missing[0]}, which its path names")
    if extra := sorted(set(record) - expected):
        raise BadMessage(f"'{name}' holds {shown(extra[0])}, which its path does not name")
    return path, record


def _path(record: ArrayRecord, blocks: int) -> np.ndarray:
    """The path ``(L,)`` bool."""
    bits = np.unpackbits(_array(record, "path", np.dtype(np.uint8), (-(-blocks // 8),)), bitorder="little")
    if bits[blocks:].any():
        raise BadMessage(f"path names a block beyond the {blocks} there are")
    return bits[:blocks].astype(bool)


def _packed(value: np.ndarray) -> Array:
    """What ``Array(value)`` gives, without NumPy's writing of the same header again and again."""
    content = np.ascontiguousarray(value)
    data = b"".join((_header(content.dtype.str, content.shape), content.data))
    return Array(content.dtype.name, content.shape, _NUMPY, data)


@lru_cache(maxsize=256)
def _header(dtype: str, shape: tuple[int, ...]) -> bytes:
    """The bytes before the numbers in NumPy's format of such an array."""
    empty = np.empty(shape, np.dtype(dtype))
    content = Array(empty).data
    return content[: len(content) - empty.nbytes]


def _array(record: ArrayRecord, name: str, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """An array of that type and shape whose numbers are finite."""
    told = record[name]
    if told.dtype != dtype.name or tuple(told.shape) != shape:
        raise BadMessage(f"{name} is {shown(told.dtype)} {shown(told.shape)}, expected {dtype.name} {shape}")
    if len(told.data) > 1024 + int(np.prod(shape)) * dtype.itemsize:  # NumPy's header is far shorter
        raise BadMessage(f"{name} has {len(told.data)} bytes, too many for {dtype.name} {shape}")
    header = _header(dtype.str, shape)
    try:
        if told.stype == _NUMPY and told.data.startswith(header):
            value = np.frombuffer(told.data, dtype, int(np.prod(shape)), len(header)).reshape(shape)
        else:
            value = np.asarray(told.numpy())
    except Exception as error:  # the bytes are the sender's, and what they raise is NumPy's choice
        raise BadMessage(f"{name} cannot be read: {shown(str(error))}") from error
    if value.dtype != dtype or value.shape != shape:
        raise BadMessage(f"{name} is {value.dtype} {value.shape}, expected {dtype.name} {shape}")
    if not np.isfinite(value).all():
        raise BadMessage(f"{name} holds numbers that are not finite")
    return value
