"""Gater (Chen et al. 2019, GaterNet): a small network looks at the input and switches units of the big one off.

A GRU over the recent items, a bottleneck with batch normalisation, one logit for each output unit of each linear layer
(SASRec) or channel of each convolution (NextItNet). In training gates are drawn by improved semantic hashing.
"""

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.backbones.base import DIM, Backbone
from models.device_part import Extractor
from models.shared.plain import Footprint, Network, footprint

if TYPE_CHECKING:
    from models.device_part import DevicePart

BOTTLENECK = 32
OPEN_AT_FIRST = 1.0
"""Bias of a fresh gate: training begins with nearly all units on."""


def semantic_hash(logits: Tensor, generator: torch.Generator) -> Tensor:
    """Improved semantic hashing of ``(B, G)`` logits: gates in [0, 1] (Kaiser & Bengio 2018).

    Noise is added; the forward pass takes a saturating sigmoid for one half of the rows and the hard step for the
    others, the gradient is always that of the saturating sigmoid.
    """
    noise = torch.randn(logits.shape, generator=generator).to(logits.device)
    pick = torch.rand(len(logits), 1, generator=generator).to(logits.device) < 0.5
    noisy = logits + noise
    soft = (1.2 * torch.sigmoid(noisy) - 0.1).clamp(0, 1)
    hard = (noisy > 0).to(soft.dtype) + (soft - soft.detach())
    return torch.where(pick, soft, hard)


def to_the_left(windows: Tensor) -> tuple[Tensor, Tensor]:
    """Left-padded windows ``(B, n)`` as right-padded ones, and their lengths ``(B,)``, at least 1."""
    n = windows.shape[1]
    lengths = (windows != 0).sum(1)
    source = torch.arange(n, device=windows.device) + (n - lengths)[:, None]
    aligned = windows.gather(1, source.clamp(max=n - 1)) * (source < n)
    return aligned, lengths.clamp(min=1)


def newest(history: Tensor, lengths: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """The last ``n`` items of right-padded histories ``(B, m)``: ``(B, n)`` and lengths ``(B,)``."""
    source = (lengths - n).clamp(min=0)[:, None] + torch.arange(n, device=history.device)
    inside = source < lengths[:, None]
    return history.gather(1, source.clamp(max=history.shape[1] - 1)) * inside, lengths.clamp(max=n)


class GatedNetwork(Network):
    """Plain blocks, and the network that switches their units.

    ``used`` ``(L, units)`` bool: the units that were on for at least one validation window. The others are not
    installed and stay off.
    """

    kind = "gated"
    used: Tensor

    def __init__(self, backbone: Backbone, generator: torch.Generator) -> None:
        super().__init__(backbone, generator)
        self.blocks, self.per_block = backbone.blocks, backbone.linears * DIM
        gates = self.blocks * self.per_block
        self.extractor = Extractor()
        self.squeeze = nn.Linear(DIM, BOTTLENECK)
        self.norm = nn.BatchNorm1d(BOTTLENECK)
        self.gates = nn.Linear(BOTTLENECK, gates)
        nn.init.constant_(self.gates.bias, OPEN_AT_FIRST)
        self.register_buffer("used", torch.ones(self.blocks, self.per_block, dtype=torch.bool))

    def logits(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        """Of all gates ``(B, L * units)``, from ``embedded`` ``(B, m, d)`` right-padded; a unit is on above zero."""
        squeezed = self.squeeze(self.extractor(embedded, lengths))
        norm = self.norm
        if norm.training and len(squeezed) == 1:  # the last window of an epoch has no batch to be normalised with
            squeezed = F.batch_norm(squeezed, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
        else:
            squeezed = norm(squeezed)
        squeezed = F.relu(squeezed)
        out: Tensor = self.gates(squeezed)
        return out

    def units(self, part: "DevicePart", windows: Tensor) -> Tensor:
        """Which units are on for each window: ``(D, R, n)`` to ``(D, R, L, units)`` of 0 and 1."""
        recent, lengths = to_the_left(windows.flatten(0, 1))
        on = (self.logits(part.embed_history(recent), lengths) > 0).view(*windows.shape[:2], *self.used.shape)
        return (on & self.used).to(torch.float32)

    def footprint(self, backbone: Backbone, context: int, path: np.ndarray, units: Tensor | None = None) -> Footprint:
        """Products of the units that are on (all installed ones without ``units``), and of the gating network.

        ``units`` ``(E, L, units)`` are those of ``E`` inferences, of which this is the mean. The paper's count leaves
        the gating network out.
        """
        plain = footprint(backbone, context, path)
        blocks = np.flatnonzero(path).tolist()
        installed = int(self.used[blocks].sum())
        everything = len(blocks) * self.per_block
        on = installed if units is None else float(units[:, blocks].sum()) / max(len(units), 1)
        saved = round((everything - on) * context * backbone.inputs)
        gating = context * 6 * DIM * DIM + DIM * BOTTLENECK + BOTTLENECK * len(blocks) * self.per_block
        unused = (everything - installed) * (backbone.inputs + 1)
        return Footprint(plain.macs - saved + gating, plain.macs_paper - saved, plain.weights - unused)
