"""Rare Gem (Gem-Miner, Sreenivasan et al. 2022): a sparse network found before its weights are trained.

Search: the weights are random signs of one size and stay as they are; every weight has a score in [0, 1], and the
network is made of the weights whose score is above one half. The lowest scores of the *whole* network are removed for
good, in steps. Training: what survives is switched on regardless of its score, and trained.

Scores are for the matrices; biases (zero at first) and what all devices share are not pruned.
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from models.backbones.base import Backbone
from models.cloud_models import StaticModel
from models.shared.plain import Footprint, Network, footprint

THRESHOLD = 0.5


class SparseNetwork(Network):
    """Blocks of which some weights are zero and are not stored: ``kept{k}`` ``(block_size,)`` bool says which are."""

    kind = "sparse"

    def __init__(self, backbone: Backbone, generator: torch.Generator) -> None:
        super().__init__(backbone, generator)
        for k in range(backbone.blocks):
            flat = self.stored(k).detach()
            self[k] = torch.sign(flat) * flat[flat != 0].std()
            self.register_buffer(f"kept{k}", torch.ones(backbone.block_size, dtype=torch.bool))

    def kept(self, k: int) -> Tensor:
        """Which weights of block ``k`` there are."""
        value: Tensor = getattr(self, f"kept{k}")
        return value

    def __getitem__(self, k: int) -> Tensor:  # type: ignore[override]
        return (self.stored(k) * self.kept(k)).unsqueeze(0)

    def footprint(self, backbone: Backbone, context: int, path: np.ndarray, units: Tensor | None = None) -> Footprint:
        """The multiplications of a dense network: zeros that stand anywhere save none. Only what is kept is stored."""
        plain = footprint(backbone, context, path)
        dropped = sum(int((~self.kept(k)).sum()) for k in np.flatnonzero(path).tolist())
        return replace(plain, weights=plain.weights - dropped)


class RareGemModel(StaticModel):
    """A sparse network and the scores by which it is found."""

    searching: Tensor

    def __init__(self, backbone: Backbone, generator: torch.Generator) -> None:
        super().__init__(backbone, generator, network=SparseNetwork)
        self.scores = nn.ParameterList(
            torch.rand(backbone.block_size, generator=generator) for _ in range(backbone.blocks)
        )
        self.register_buffer("searching", torch.tensor(True))
        for k in range(backbone.blocks):
            self.register_buffer(f"prunable{k}", self.sparse.stored(k).detach() != 0)

    @property
    def sparse(self) -> SparseNetwork:
        """The network, by its own type."""
        assert isinstance(self.network, SparseNetwork)
        return self.network

    def prunable(self, k: int) -> Tensor:
        """Which weights of block ``k`` have a score."""
        value: Tensor = getattr(self, f"prunable{k}")
        return value

    def block(self, k: int, rows: Tensor | None = None) -> Tensor:
        """While searching, frozen weights under a rounded score whose gradient passes straight through."""
        if not self.searching:
            return self.network[k]
        score = self.scores[k]
        rounded = (score > THRESHOLD).to(score.dtype) + (score - score.detach())
        return self.network[k].detach() * torch.where(self.prunable(k), rounded, 1.0)

    def decay(self) -> Tensor:
        """Sum of the squares of the scores that are left."""
        return torch.stack([(score.square() * self._alive(k)).sum() for k, score in enumerate(self.scores)]).sum()

    @torch.no_grad()
    def clamp(self) -> None:
        """Put every score back into [0, 1]."""
        for score in self.scores:
            score.clamp_(0, 1)

    @property
    def total(self) -> int:
        """Weights of the whole dense network, as the paper counts its parameters."""
        backbone = self.device_part.backbone
        return backbone.blocks * (backbone.block_size + backbone.static_block_weights())

    @torch.no_grad()
    def prune(self, weights: int) -> None:
        """Remove the lowest scores of the whole network for good, so that ``weights`` of :attr:`total` are left."""
        blocks = range(len(self.scores))
        alive = torch.cat([self._alive(k) for k in blocks])
        removed = sum(int((~self.sparse.kept(k)).sum()) for k in blocks)
        count = min(self.total - removed - weights, int(alive.sum()))
        if count <= 0:
            return
        scores = torch.cat([score.detach() for score in self.scores]).masked_fill(~alive, float("inf"))
        lowest = scores.argsort(stable=True)[:count]
        kept = torch.cat([self.sparse.kept(k) for k in blocks])
        kept[lowest] = False
        for k, part in zip(blocks, kept.chunk(len(self.scores)), strict=True):
            self.sparse.kept(k).copy_(part)

    @torch.no_grad()
    def settle(self) -> None:
        """End the search: every weight that is left is on, whatever its score, and is trained from here."""
        for k in range(len(self.scores)):
            self.sparse.stored(k).mul_(self.sparse.kept(k))
        self.searching.fill_(False)

    def _alive(self, k: int) -> Tensor:
        return self.sparse.kept(k) & self.prunable(k)
