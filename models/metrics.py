"""Ranks, Hit@K and NDCG@K against all items."""

import torch
from torch import Tensor

CUTOFF = 10


def ranks(scores: Tensor, targets: Tensor) -> Tensor:
    """Rank of each target among all items, from 1.

    ``scores`` ``(..., num_items)``, column ``i`` is item ``i + 1``; ``targets`` ``(...,)`` item ids from 1. An item
    that scores the same as the target counts as ranked before it, so that constant scores never look good.
    """
    wanted = scores.gather(-1, (targets - 1).unsqueeze(-1))
    return (scores >= wanted).sum(-1)


def hits(rank: Tensor, cutoff: int = CUTOFF) -> Tensor:
    """1 where the target is among the first ``cutoff``, else 0."""
    return (rank <= cutoff).to(torch.float64)


def ndcg(rank: Tensor, cutoff: int = CUTOFF) -> Tensor:
    """With one relevant item: 1 / log2(1 + rank) within the cut-off, else 0."""
    return torch.where(rank <= cutoff, 1 / torch.log2(1 + rank.to(torch.float64)), 0.0)
