"""A device's own network as one module: the blocks of its path with their weights inside, and nothing else of them.

What :meth:`models.backbones.base.Backbone.encode` computes for many devices with weights from outside, for one device
at batch 1: what would be put on a phone.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from models.backbones.base import Backbone
from models.shared.plain import Network

if TYPE_CHECKING:
    from models.device_part import DevicePart


class Standalone(nn.Module):
    """From the most recent items ``(1, context)``, left-padded with 0, to scores ``(1, num_items)``.

    Column ``i`` is the score of item ``i + 1``.
    """

    def __init__(
        self,
        backbone: Backbone,
        path: Sequence[int],
        weights: Sequence[Tensor],
        gating: "tuple[Network, DevicePart] | None" = None,
    ) -> None:
        """``weights`` ``(1, block_size)`` of each block in ``path`` (from 0); ``gating`` switches units of the blocks
        by what the window holds."""
        super().__init__()
        self.backbone, self.path = backbone, tuple(path)
        for k, block in zip(self.path, weights, strict=True):
            self.register_buffer(f"block{k}", block.detach().clone())
        self.gating: Network | None = None if gating is None else gating[0]
        self.part: DevicePart | None = None if gating is None else gating[1]
        self.eval().requires_grad_(False)

    def forward(self, windows: Tensor) -> Tensor:
        """Score all items."""
        backbone, windows = self.backbone, windows.unsqueeze(0)
        x, real = backbone.embed(windows)
        units = None if self.gating is None or self.part is None else self.gating.units(self.part, windows)
        for k in self.path:
            mine = None if units is None else units[:, :, k]
            x = backbone.run_block(k, x, getattr(self, f"block{k}"), mine) * real
        return backbone.score(backbone.finish(x, windows)[:, :, -1])[0]


def fresh(backbone: Backbone, blocks: int, generator: torch.Generator) -> Standalone:
    """The first ``blocks`` blocks with fresh weights: for measuring how long they take."""
    weights = [backbone.initial_block(k, generator).unsqueeze(0) for k in range(blocks)]
    return Standalone(backbone, range(blocks), weights)
