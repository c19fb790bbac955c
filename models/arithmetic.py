"""In which precision a device multiplies: single, half, or 8-bit integers.

A device's bits say how its weights are stored and sent, and what it multiplies. Sums, norms, softmax and the residual
stream are in single precision everywhere.

* 32: single precision, as trained.
* 16: float16 (IEEE 754), which phones' processors multiply natively. Both factors are rounded to it, and so is the
  product; the sum in between is not, as on hardware that adds up in single precision. What is compared and not
  multiplied again, the scores of items, is read from these sums: rounded, many items would share a score.
* 8: integers from -127 to 127. A weight matrix has one scale for each output channel, its largest magnitude / 127; an
  activation has one for each row, made when it is multiplied ("dynamic"). Rounded to nearest, ties to even.

Products of 8-bit integers are exact here: every partial sum of up to :data:`MOST_INPUTS` of them is an integer below
2^24, which single precision holds, in whatever order they are added. Half-precision products are added in double
precision, which holds their sums without rounding while they are below 32 (a product is a multiple of 2^-48), so that
the order changes nothing that rounding to half or to single precision shows. So devices in a batch get the numbers
that they get one by one.

What is stored in 8 bits is carried as single-precision numbers on its grid. The scale of a grid is rounded up to 16
bits of mantissa, so that 127 times it has no rounding: a grid that is quantised again is the same grid.
"""

import copy
from abc import ABC, abstractmethod
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BITS = (32, 16, 8)
"""What a device may compute in."""
LARGEST = 127
"""Largest magnitude of an 8-bit weight or activation; -128 is not used, so that a grid is symmetric."""
MOST_INPUTS = 2**24 // LARGEST**2
"""Inputs of a product of 8-bit integers whose sum single precision holds exactly: 1,040."""
SCALE_BITS = 32
"""Bits of a scale."""
_NOTHING = 1e-30
"""A row or channel whose largest magnitude is below this is all zeros."""


def quantise(x: Tensor, dim: int, largest: int = LARGEST) -> tuple[Tensor, Tensor]:
    """Whole numbers from -``largest`` to ``largest`` in the shape of ``x``, and the scales that give ``x`` back.

    One scale for all numbers along ``dim``, which has size 1 in the scales.
    """
    scales = scales_for(x.abs().amax(dim, keepdim=True), largest)
    return (x / scales).round(), scales


def quantise_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """The same of activations, one scale a row: nothing quantises them again, so that their scales are as they are."""
    steps = x.abs().amax(-1, keepdim=True) / LARGEST
    scales = torch.where(steps < _NOTHING, 1.0, steps)
    return (x / scales).round(), scales


def scales_for(magnitudes: Tensor, largest: int = LARGEST) -> Tensor:
    """The steps of grids from 0 to ``magnitudes`` in ``largest`` steps, rounded up to 16 bits of mantissa; 1 of zeros.

    Rounded up, so that no number is beyond the end of its grid.
    """
    steps = magnitudes / largest
    rounded = ((steps.contiguous().view(torch.int32) + 0xFF) & -0x100).view(torch.float32)
    return torch.where(magnitudes < _NOTHING, 1.0, rounded)


class Arithmetic(ABC):
    """How a device stores and multiplies numbers."""

    bits: int

    @abstractmethod
    def stored(self, matrix: Tensor, dim: int) -> Tensor:
        """What is left of ``matrix`` when it is stored, in single precision; output channels are apart along all
        dimensions but ``dim``."""

    def beside(self, x: Tensor) -> Tensor:
        """What is left of numbers that are no factors of a product (biases, norms) when they are stored."""
        return x

    @abstractmethod
    def product(self, x: Tensor, matrix: Tensor, bias: Tensor | None = None) -> Tensor:
        """``x`` ``(..., rows, in)`` times ``matrix`` ``(..., in, out)``, plus ``bias``, which broadcasts."""

    def scores(self, x: Tensor, matrix: Tensor) -> Tensor:
        """A product whose numbers are compared with each other, in the precision in which it was added up."""
        return self.product(x, matrix)

    @abstractmethod
    def attention(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Causal attention of ``(..., n, d)``, all of one shape."""


class Single(Arithmetic):
    """Single precision: what is trained is what runs."""

    bits = 32

    def stored(self, matrix: Tensor, dim: int) -> Tensor:
        return matrix

    def product(self, x: Tensor, matrix: Tensor, bias: Tensor | None = None) -> Tensor:
        out = x @ matrix
        return out if bias is None else out + bias

    def attention(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)


class Half(Arithmetic):
    """Weights and activations in float16."""

    bits = 16

    def stored(self, matrix: Tensor, dim: int) -> Tensor:
        return _half(matrix)

    def beside(self, x: Tensor) -> Tensor:
        return _half(x)

    def product(self, x: Tensor, matrix: Tensor, bias: Tensor | None = None) -> Tensor:
        out = self._sums(x, matrix)
        return _half((out if bias is None else out + bias.half()).float())

    def scores(self, x: Tensor, matrix: Tensor) -> Tensor:
        return self._sums(x, matrix).float()

    def _sums(self, x: Tensor, matrix: Tensor) -> Tensor:
        return x.half().double() @ matrix.half().double()

    def attention(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        logits = self.product(q, k.transpose(-1, -2)) * q.shape[-1] ** -0.5
        return self.product(_causal_softmax(logits), v)


class Integer(Arithmetic):
    """Weights and activations in 8 bits, sums in 32."""

    bits = 8

    def stored(self, matrix: Tensor, dim: int) -> Tensor:
        values, scales = quantise(matrix, dim)
        return values * scales

    def product(self, x: Tensor, matrix: Tensor, bias: Tensor | None = None) -> Tensor:
        """Raises ValueError for more inputs than :data:`MOST_INPUTS`."""
        out = self.scaled_product(x, *quantise(matrix, -2))
        return out if bias is None else out + bias

    def scaled_product(self, x: Tensor, columns: Tensor, scales: Tensor) -> Tensor:
        """``x`` times a matrix of whole numbers ``(..., in, out)`` whose channels have ``scales`` ``(..., 1, out)``."""
        if x.shape[-1] > MOST_INPUTS:
            raise ValueError(f"a product of {x.shape[-1]} 8-bit inputs is not exact: {MOST_INPUTS} at most")
        rows, row_scales = quantise_rows(x)
        return self.exact(rows, columns) * row_scales * scales

    def exact(self, rows: Tensor, columns: Tensor) -> Tensor:
        """The product of whole numbers."""
        return rows @ columns

    def attention(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """The scale of each row of ``v`` goes into the weight that it gets, before that is rounded."""
        keys, key_scales = quantise_rows(k)
        logits = self.scaled_product(q, keys.transpose(-1, -2), key_scales.transpose(-1, -2)) * q.shape[-1] ** -0.5
        values, scales = quantise_rows(v)
        weights, weight_scales = quantise_rows(_causal_softmax(logits) * scales.transpose(-1, -2))
        return self.exact(weights, values) * weight_scales


SINGLE: Arithmetic = Single()
ARITHMETICS: dict[int, Arithmetic] = {one.bits: one for one in (SINGLE, Half(), Integer())}
"""By a device's bits."""
Whole = TypeVar("Whole", bound=nn.Module)


@torch.no_grad()
def computed_in(module: Whole, arithmetic: Arithmetic) -> Whole:
    """A copy of ``module`` whose parameters are stored, and whose products are made, in ``arithmetic``.

    Rows of its matrices are output channels (an item of the embeddings is one of scoring). What multiplies has an
    attribute ``arithmetic``.
    """
    made = copy.deepcopy(module)
    for part in made.modules():
        if hasattr(type(part), "arithmetic"):
            part.arithmetic = arithmetic  # type: ignore[assignment]
    for value in made.parameters():
        value.copy_(arithmetic.stored(value, 1) if value.dim() == 2 else arithmetic.beside(value))
    return made


def stored_bits(bits: int, weights: int, biases: int, channels: int) -> int:
    """Bits of a network with so many ``weights``, of which ``biases`` are no factors of a product, and as many output
    channels: in 8 bits each channel has a scale, and what is added stays in single precision."""
    if bits != ARITHMETICS[8].bits:
        return bits * weights
    return bits * (weights - biases) + 32 * biases + SCALE_BITS * channels


def _half(x: Tensor) -> Tensor:
    return x.half().float()


def _causal_softmax(logits: Tensor) -> Tensor:
    """Softmax of ``(..., n, n)`` over what is not later."""
    places = torch.arange(logits.shape[-1], device=logits.device)
    return logits.masked_fill(places > places.unsqueeze(1), float("-inf")).softmax(-1)
