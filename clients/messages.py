"""What devices and cloud say to each other: the records of every message, and nothing else.

=====================  ==============  ==========================================================================
record                 kind            content
=====================  ==============  ==========================================================================
``session`` (down)     ConfigRecord    which session to play, and where this simulated device finds its own disk
``budget`` (down)      ConfigRecord    what the device can afford today (:mod:`clients.budget`); the simulation adds it,
                                       the cloud never reads it
``policy`` (down)      ConfigRecord    by what the device decides whether to ask (:mod:`clients.decision`), likewise
``request`` (up)       ArrayRecord     ``path``: the wanted blocks, one bit each; ``latent``: 64 float32
``network`` (down)     ArrayRecord     ``path``, and ``block.k``: float32 weights of each block in it
``measured`` (up)      MetricRecord    the device's own measurements, numbers only
=====================  ==============  ==========================================================================

Item ids, sequences and embeddings are in none of them.
"""

from dataclasses import dataclass

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord

from models.backbones.base import DIM

SESSION, REQUEST, NETWORK, MEASURED = "session", "request", "network", "measured"
REQUEST_MEASURES = ("macs",)
"""What accompanies a request: multiply-accumulates of the extractors."""
PROBE = "probe"
"""Accompanies what is no request of the device but a measurement of the simulator's (``--compare-stale``)."""
SESSION_MEASURES = (
    "events",
    "hits",
    "ndcg",
    "served",
    "macs",
    "macs_paper",
    "macs_adapt",
    "macs_decide",
    "param_bits",
    "path",
)
"""What a device reports after a session."""
COMPARED = ("hits_stale", "ndcg_stale", "hits_fresh", "ndcg_fresh")
"""What it reports beside that where the simulator compares the stale network with the fresh one."""


class BadMessage(ValueError):
    """A message that breaks the protocol; the text says what is wrong with it."""


@dataclass(frozen=True)
class SessionConfig:
    """One session to play, as the simulation tells a device."""

    session: int
    world: str
    """Folder of the simulated devices' storage."""
    model: str
    """File of the model installed on the devices."""
    context: int
    history_length: int
    """Items that the extractors read."""
    seed: int = 0
    """Of the device's own draws, where a method has any."""

    def record(self) -> ConfigRecord:
        """As it travels."""
        return ConfigRecord(dict(vars(self)))

    @staticmethod
    def of(message: Message) -> "SessionConfig":
        """Read it back on the device."""
        return SessionConfig(**message.content[SESSION])


@dataclass(frozen=True)
class DeviceRequest:
    """A checked request of one device."""

    path: np.ndarray
    """``(L,)`` bool."""
    latent: np.ndarray
    """``(64,)`` float32."""
    macs: int
    bits: int
    """Size of its arrays."""
    probe: bool = False
    """Not asked by the device, but by the simulator for a comparison."""


def pack_request(path: np.ndarray, latent: np.ndarray, macs: int) -> dict[str, ArrayRecord | MetricRecord]:
    """The records of a request: ``path`` ``(L,)`` bool, ``latent`` ``(64,)``."""
    arrays = {"path": Array(np.packbits(path, bitorder="little")), "latent": Array(latent.astype(np.float32))}
    return {REQUEST: ArrayRecord(arrays), MEASURED: MetricRecord({"macs": macs})}


def pack_probe(path: np.ndarray, latent: np.ndarray, macs: int) -> dict[str, ArrayRecord | MetricRecord]:
    """A request that the simulator makes in the name of a device that asks for nothing; ``macs`` as of a decline."""
    return {**pack_request(path, latent, macs), MEASURED: MetricRecord({"macs": macs, PROBE: 1})}


def pack_decline(macs: int = 0) -> dict[str, MetricRecord]:
    """The answer of a device that asks for nothing this time; ``macs`` is what it took to decide."""
    return {MEASURED: MetricRecord({"macs": macs})}


def read_decline(message: Message) -> int:
    """Multiply-accumulates that it took a device to decide to ask for nothing."""
    return int(_measures(message, REQUEST_MEASURES)["macs"])


def read_request(message: Message, blocks: int) -> DeviceRequest | None:
    """Check a request to the letter and read it; None if the device asks for nothing.

    Raises :class:`BadMessage` for an error reply, any record or key beside the named ones, wrong shapes or types, and
    numbers that are not finite.
    """
    if not message.has_error() and set(message.content) == {MEASURED}:
        _measures(message, REQUEST_MEASURES)
        return None
    _only(message, {REQUEST, MEASURED})
    arrays = message.content[REQUEST]
    if not isinstance(arrays, ArrayRecord) or set(arrays) != {"path", "latent"}:
        raise BadMessage(f"'{REQUEST}' must hold exactly the arrays path and latent")
    path, latent = _array(arrays, "path"), _array(arrays, "latent")
    if path.dtype != np.uint8 or path.shape != (-(-blocks // 8),):
        raise BadMessage(f"path is {path.dtype}{path.shape}, expected {blocks} bits")
    bits = np.unpackbits(path, bitorder="little")
    if bits[blocks:].any():
        raise BadMessage(f"path names a block beyond the {blocks} there are")
    if latent.dtype != np.float32 or latent.shape != (DIM,):
        raise BadMessage(f"latent is {latent.dtype}{latent.shape}, expected float32({DIM},)")
    if not np.isfinite(latent).all():
        raise BadMessage("latent holds numbers that are not finite")
    measured = _measures(message, REQUEST_MEASURES, (PROBE,))
    size = 8 * (path.nbytes + latent.nbytes)
    return DeviceRequest(bits[:blocks].astype(bool), latent, int(measured["macs"]), size, PROBE in measured)


def pack_network(path: np.ndarray, weights: dict[int, np.ndarray]) -> ArrayRecord:
    """The network of one device: ``weights[k]`` ``(block_size,)`` for each block ``k`` in its path."""
    arrays = {"path": Array(np.packbits(path, bitorder="little"))}
    arrays.update({f"block.{k}": Array(value) for k, value in weights.items()})
    return ArrayRecord(arrays)


def read_network(message: Message, blocks: int) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """The path ``(L,)`` bool and the weights of its blocks, as the device received them."""
    record = message.content.array_records[NETWORK]
    path = np.unpackbits(record["path"].numpy(), bitorder="little")[:blocks].astype(bool)
    return path, {int(k): record[f"block.{k}"].numpy() for k in np.nonzero(path)[0]}


def array_bits(record: ArrayRecord) -> int:
    """Bits of the numbers in a record, without Flower's framing."""
    return sum(8 * int(np.prod(a.shape)) * np.dtype(a.dtype).itemsize for a in record.values())


def read_measured(message: Message) -> dict[str, float]:
    """Check and read what a device measured over a session; raises :class:`BadMessage`."""
    _only(message, {MEASURED})
    return _measures(message, SESSION_MEASURES, COMPARED)


def _only(message: Message, names: set[str]) -> None:
    if message.has_error():
        reason = (message.error.reason or "").strip() or "no reason given"
        raise BadMessage(f"the device failed: {reason.splitlines()[-1]}")
    if set(message.content) != names:
        raise BadMessage(f"holds the records {sorted(message.content)}, expected exactly {sorted(names)}")


def _array(record: ArrayRecord, name: str) -> np.ndarray:
    try:
        return np.asarray(record[name].numpy())
    except Exception as error:  # the bytes are the device's, and what they raise is NumPy's choice
        raise BadMessage(f"{name} cannot be read: {error}") from error


def _measures(message: Message, names: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, float]:
    """The numbers of these names; those of ``optional`` are all there or none of them is."""
    record = message.content[MEASURED]
    if isinstance(record, MetricRecord) and optional and set(record) == {*names, *optional}:
        names += optional
    if not isinstance(record, MetricRecord) or set(record) != set(names):
        raise BadMessage(f"'{MEASURED}' must hold exactly {', '.join(names)}")
    if not all(isinstance(v, int | float) and np.isfinite(v) and v >= 0 for v in record.values()):
        raise BadMessage(f"'{MEASURED}' holds something that is no finite number of at least 0")
    return {name: record[name] for name in names}  # type: ignore[misc]
