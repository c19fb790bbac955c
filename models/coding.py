"""How the block of a network travels: as weights in the device's precision, or as what was chosen for it.

What arrives is carried on as one array a block: weights in single precision (on their grid, if that was sent), or the
bytes of a choice.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np
import torch

from models.arithmetic import LARGEST, quantise
from models.backbones.base import Backbone
from models.shared.specialised import SpecialisedNetwork

Arrays = dict[str, np.ndarray]
"""The arrays of one block, by the name that stands before its number in a message."""
BLOCK, SCALE, BIAS = "block", "scale", "bias"


class Coding(ABC):
    """Of one block, between the array that both sides hold and the arrays of a message."""

    @property
    @abstractmethod
    def shapes(self) -> dict[str, tuple[np.dtype, tuple[int, ...]]]:
        """Type and shape of each array of a block in a message."""

    @abstractmethod
    def pack(self, block: np.ndarray) -> Arrays:
        """What is sent of a block."""

    @abstractmethod
    def unpack(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """The block that they stand for; raises ValueError where they cannot stand for one."""

    @property
    def bits(self) -> int:
        """Bits of a block in a message."""
        return sum(8 * dtype.itemsize * int(np.prod(shape)) for dtype, shape in self.shapes.values())


class FloatCoding(Coding):
    """Weights ``(block_size,)`` in single or half precision."""

    def __init__(self, block_size: int, dtype: type[np.float32] | type[np.float16] = np.float32) -> None:
        self._size, self._dtype = block_size, np.dtype(dtype)

    @property
    def shapes(self) -> dict[str, tuple[np.dtype, tuple[int, ...]]]:
        return {BLOCK: (self._dtype, (self._size,))}

    def pack(self, block: np.ndarray) -> Arrays:
        return {BLOCK: block.astype(self._dtype, copy=False)}

    def unpack(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        return arrays[BLOCK].astype(np.float32, copy=False)


class IntegerCoding(Coding):
    """Matrices as 8-bit integers, of each output channel a scale and a bias in single precision, in the order of the
    block's matrices."""

    def __init__(self, backbone: Backbone) -> None:
        self._matrices = backbone.shapes
        self._weights = sum(inputs * outputs for inputs, outputs in backbone.shapes)
        self._channels = sum(outputs for _, outputs in backbone.shapes)

    @property
    def shapes(self) -> dict[str, tuple[np.dtype, tuple[int, ...]]]:
        channels = np.dtype(np.float32), (self._channels,)
        return {BLOCK: (np.dtype(np.int8), (self._weights,)), SCALE: channels, BIAS: channels}

    def pack(self, block: np.ndarray) -> Arrays:
        values, scales, biases, start = [], [], [], 0
        for inputs, outputs in self._matrices:
            end = start + inputs * outputs
            whole, scale = quantise(torch.from_numpy(block[start:end].reshape(inputs, outputs)), 0)
            values.append(whole.numpy().astype(np.int8).ravel())
            scales.append(scale.numpy().ravel())
            biases.append(block[end : end + outputs])
            start = end + outputs
        return {BLOCK: np.concatenate(values), SCALE: np.concatenate(scales), BIAS: np.concatenate(biases)}

    def unpack(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        values, scales, biases = (arrays[name] for name in (BLOCK, SCALE, BIAS))
        if values.min() < -LARGEST:
            raise ValueError(f"{BLOCK} holds {values.min()}, expected -{LARGEST} to {LARGEST}")
        if scales.min() <= 0:
            raise ValueError(f"{SCALE} holds {scales.min():g}, expected numbers above 0")
        parts, start, channel = [], 0, 0
        for inputs, outputs in self._matrices:
            mine = slice(channel, channel + outputs)
            whole = values[start : start + inputs * outputs].reshape(inputs, outputs).astype(np.float32)
            parts += [(whole * scales[mine]).ravel(), biases[mine]]
            start, channel = start + inputs * outputs, channel + outputs
        return np.concatenate(parts)


class ChoiceCoding(Coding):
    """The bytes that specialise an installed network, as they are."""

    def __init__(self, network: SpecialisedNetwork) -> None:
        self._bytes = network.choice_bytes

    @property
    def shapes(self) -> dict[str, tuple[np.dtype, tuple[int, ...]]]:
        return {BLOCK: (np.dtype(np.uint8), (self._bytes,))}

    def pack(self, block: np.ndarray) -> Arrays:
        return {BLOCK: block}

    def unpack(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        return arrays[BLOCK]


def weight_coding(backbone: Backbone, bits: int) -> Coding:
    """Of weights for a device that computes in ``bits``."""
    if bits == 8:
        return IntegerCoding(backbone)
    return FloatCoding(backbone.block_size, np.float16 if bits == 16 else np.float32)
