"""How a device comes to the network that is made for it, and what a code of that network is.

* ``weights``: the cloud makes the weights of the blocks and sends them, as in the paper;
* ``code``: a low-rank mapper's bases are installed once, the cloud sends gains and shifts, the device folds them in;
* ``local``: the mapper is installed, too; nothing is asked and nothing is sent.

The code of a block is one vector: of each linear layer the gains of its directions, then the shifts of its bias. In 16
bits its numbers are half-precision floats. In 8 bits they are whole numbers from -127 to 127, and each piece (the gains
of a layer, or its shifts) has a scale of its own, a 32-bit float: its largest magnitude divided by 127.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor

How = Literal["weights", "code", "local"]
CODE_BITS = (32, 16, 8)
"""What a number of a code may have."""
NUMBERS = {32: torch.float32, 16: torch.float16, 8: torch.int8}
"""The types of a code's numbers, by their bits."""
MOST = 127
"""Largest magnitude of a number of 8 bits."""


@dataclass(frozen=True)
class Delivery:
    """How devices come to their networks."""

    how: How = "weights"
    bits: int = 32
    """Of a number of a code."""

    @property
    def name(self) -> str:
        """As a model's file says it: ``weights``, ``code-8``, ``local``."""
        return f"code-{self.bits}" if self.how == "code" else self.how

    @staticmethod
    def named(name: str) -> "Delivery":
        """The inverse of :attr:`name`."""
        how, _, bits = name.partition("-")
        return Delivery(cast(How, how), int(bits or 32))


WEIGHTS = Delivery()
"""The paper's way."""


def encode(code: Tensor, pieces: Sequence[int], bits: int) -> tuple[Tensor, Tensor | None]:
    """The numbers of a code ``(..., C)`` as they are sent, and with 8 bits the scales ``(..., P)`` of its ``pieces``.

    ``pieces`` are the lengths of its P pieces. What is beyond half precision becomes the largest number of it.
    """
    if bits == 8:
        parts = code.split(list(pieces), dim=-1)
        scales = torch.stack([part.abs().amax(dim=-1) / MOST for part in parts], dim=-1)
        spread = _spread(scales, pieces)
        numbers = torch.where(spread > 0, code / spread, 0.0).round().clamp(-MOST, MOST)
        return numbers.to(torch.int8), scales
    if bits == 16:
        largest = torch.finfo(torch.float16).max
        return code.clamp(-largest, largest).to(torch.float16), None
    return code, None


def decode(numbers: Tensor, scales: Tensor | None, pieces: Sequence[int]) -> Tensor:
    """The code ``(..., C)`` in 32-bit floats that :func:`encode` made these numbers of, as far as they hold it."""
    code = numbers.to(torch.float32)
    return code if scales is None else code * _spread(scales, pieces)


def code_bits(pieces: Sequence[int], bits: int) -> int:
    """Bits of the code of one block."""
    return bits * sum(pieces) + (32 * len(pieces) if bits == 8 else 0)


def _spread(scales: Tensor, pieces: Sequence[int]) -> Tensor:
    """Each piece's scale at each of its numbers, ``(..., C)``."""
    return scales.repeat_interleave(torch.tensor(list(pieces)), dim=-1)
