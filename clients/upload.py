"""In which form a device sends its latent interest: clipped, with noise, in few bits, or not at all.

The device does all of it: what leaves it is what a defence has left. With every message the simulation sends the record
``upload``, the form that this device uses; the cloud knows which one it is. Without the record the latent interest goes
as it is, in 64 float32.

=======================  ==========================================================================================
clipping                 a latent interest ``z`` with a norm above ``clip`` is scaled down to that norm
noise                    then every number gets Gaussian noise of standard deviation ``noise * clip``: the Gaussian
                         mechanism of Dwork and Roth, The Algorithmic Foundations of Differential Privacy, 2014, on
                         one device's own numbers. Two clipped interests differ by at most ``2 * clip``, so that its
                         noise multiplier is ``noise / 2``
8 or 4 bits              then it goes as ``scale`` (one float32) and whole numbers: ``z = scale * code``
no latent interest       the path alone
=======================  ==========================================================================================

Clipping and noise say nothing of the path, which is sent as it is.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message

from clients.fields import UPLOAD_FIELDS, BadMessage, check
from core.seeds import numpy_generator
from models.backbones.base import DIM

UPLOAD = "upload"
ReadArray = Callable[[ArrayRecord, str, np.dtype, tuple[int, ...]], np.ndarray]
"""Reads an array of a record by its name, type and shape."""
BITS = (4, 8, 32)
"""Of a number of a latent interest on its way."""


@dataclass(frozen=True)
class UploadForm:
    """How a latent interest is sent."""

    latent: bool = True
    """Whether it is sent at all."""
    clip: float = 0.0
    """Largest norm; 0: it is not clipped."""
    noise: float = 0.0
    """Standard deviation of the noise on each number, in multiples of ``clip``."""
    bits: int = 32

    def record(self) -> ConfigRecord:
        """As it travels from the simulation to the device."""
        return ConfigRecord(dict(vars(self)))

    @staticmethod
    def of(message: Message) -> "UploadForm":
        """The record that came with a message, or the plain form; raises :class:`clients.fields.BadMessage`."""
        if UPLOAD not in message.content:
            return PLAIN
        form = UploadForm(**check(UPLOAD, message.content[UPLOAD], UPLOAD_FIELDS))
        if form.bits not in BITS:
            raise BadMessage(f"bits is {form.bits}, expected 4, 8 or 32")
        return form

    @property
    def arrays(self) -> set[str]:
        """Names of the arrays that carry the latent interest."""
        if not self.latent:
            return set()
        return {"latent"} if self.bits == 32 else {"latent", "scale"}

    @property
    def latent_bits(self) -> int:
        """Bits of these arrays."""
        return 0 if not self.latent else DIM * self.bits + (0 if self.bits == 32 else 32)

    @property
    def deviation(self) -> float:
        """Standard deviation of the noise on each number."""
        return self.noise * self.clip

    def clipped(self, latents: np.ndarray) -> np.ndarray:
        """Latent interests ``(..., 64)`` scaled down to the largest norm, float32."""
        if not self.clip:
            return latents
        norms = np.linalg.norm(latents.astype(np.float64), axis=-1, keepdims=True)
        return (latents * np.minimum(1.0, self.clip / np.maximum(norms, 1e-12))).astype(np.float32)

    def protected(self, latent: np.ndarray, seed: int, device: int, session: int) -> np.ndarray:
        """What the device gives away of its latent interest ``(64,)`` in a session, before it is put into bits.

        The noise is a stream of its own for each device and session, so that order changes nothing.
        """
        found = self.clipped(latent)
        if not self.noise:
            return found
        drawn = numpy_generator(seed, "noise of uploads", device, session).standard_normal(DIM)
        return (found + self.deviation * drawn).astype(np.float32)

    def pack(self, latent: np.ndarray) -> dict[str, Array]:
        """The arrays that carry ``latent`` ``(64,)``."""
        if not self.latent:
            return {}
        if self.bits == 32:
            return {"latent": Array(latent.astype(np.float32))}
        codes, scale = quantise(latent, self.bits)
        sent = codes if self.bits == 8 else _packed(codes)
        return {"latent": Array(sent), "scale": Array(np.array([scale], dtype=np.float32))}

    @property
    def shape(self) -> tuple[np.dtype, tuple[int, ...]]:
        """Type and shape of the array ``latent`` on its way."""
        kinds = {32: np.float32, 8: np.int8, 4: np.uint8}
        return np.dtype(kinds[self.bits]), (DIM // 2 if self.bits == 4 else DIM,)

    def unpack(self, sent: np.ndarray, scale: float) -> np.ndarray:
        """The latent interest ``(64,)`` float32 of the array ``latent`` and the ``scale`` that came with it."""
        if self.bits == 32:
            return sent
        codes = sent if self.bits == 8 else _unpacked(sent)
        with np.errstate(over="ignore"):  # of a scale that no honest device has
            return (np.float32(scale) * codes).astype(np.float32)

    def as_read(self, latent: np.ndarray) -> np.ndarray:
        """What the cloud reads of a protected latent interest ``(64,)``, packed and unpacked; ``(0,)`` of none."""
        if not self.latent:
            return latent[:0]
        arrays = {name: array.numpy() for name, array in self.pack(latent).items()}
        return self.unpack(arrays["latent"], float(arrays["scale"][0]) if "scale" in arrays else 1.0)


PLAIN = UploadForm()
"""As the paper's devices send it."""


def quantise(latent: np.ndarray, bits: int) -> tuple[np.ndarray, np.float32]:
    """Whole numbers ``(64,)`` int8 from ``-(2^(bits - 1) - 1)`` to its negative, and the scale that they count."""
    most = 2 ** (bits - 1) - 1
    scale = np.float32(np.abs(latent).max() / most)
    if not scale:
        return np.zeros(latent.shape, dtype=np.int8), np.float32(0)
    return np.clip(np.rint(latent / scale), -most, most).astype(np.int8), scale


def _packed(codes: np.ndarray) -> np.ndarray:
    """Two codes of four bits to a byte, the first in the lower half, each with 8 added."""
    halves = (codes + 8).astype(np.uint8)
    return halves[0::2] | (halves[1::2] << 4)


def _unpacked(sent: np.ndarray) -> np.ndarray:
    """The inverse."""
    return np.stack([sent & 15, sent >> 4], axis=1).reshape(-1).astype(np.int8) - 8


def read_latent(record: ArrayRecord, form: UploadForm, read: ReadArray) -> np.ndarray:
    """The latent interest ``(64,)`` float32 of a request; ``(0,)`` where the path alone was sent.

    ``read`` gives an array of a record if it is of that type and shape, and raises
    :class:`clients.fields.BadMessage` if it is not; so does this for a scale below zero.
    """
    if not form.latent:
        return np.zeros(0, dtype=np.float32)
    sent = read(record, "latent", *form.shape)
    if "scale" not in form.arrays:
        return sent
    scale = float(read(record, "scale", np.dtype(np.float32), (1,))[0])
    if scale < 0:
        raise BadMessage(f"scale is {scale:g}, expected at least 0")
    found = form.unpack(sent, scale)
    if not np.isfinite(found).all():
        raise BadMessage(f"scale is {scale:g}, which makes numbers that are not finite")
    return found
