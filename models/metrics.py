"""Ranks, Hit@K and NDCG@K against all items."""

import torch
from torch import Tensor

CUTOFF = 10


def ranks(scores: Tensor, targets: Tensor) -> Tensor:
    """Rank of each target among all items, from 1.

    ``scores`` ``(..., num_items)``, column ``i`` is item ``i + 1``; ``targets`` ``(...,)`` item ids from 1. An item
    counts as ranked before the target unless it scores less, so that constant scores never look good. A target whose
    score is NaN or infinite has no score, and ranks last; an item whose score is NaN ranks before every target.
    """
    wanted = scores.gather(-1, (targets - 1).unsqueeze(-1))
    wanted = torch.where(wanted.isfinite(), wanted, -torch.inf)
    return scores.shape[-1] - (scores < wanted).sum(-1)


def best_items(scores: Tensor, count: int = CUTOFF) -> Tensor:
    """Ids of the items with the highest scores ``(..., num_items)``, best first, ``(..., count)``; an item whose score
    is NaN or infinite comes last."""
    finite = torch.where(scores.isfinite(), scores, -torch.inf)
    return finite.topk(min(count, scores.shape[-1])).indices + 1


def hits(rank: Tensor, cutoff: int = CUTOFF) -> Tensor:
    """1 where the target is among the first ``cutoff``, else 0; what is no rank (below 1, NaN) is no hit."""
    return ((rank >= 1) & (rank <= cutoff)).to(torch.float64)


def ndcg(rank: Tensor, cutoff: int = CUTOFF) -> Tensor:
    """With one relevant item: 1 / log2(1 + rank) within the cut-off, else 0."""
    return torch.where(hits(rank, cutoff) > 0, 1 / torch.log2(1 + rank.to(torch.float64)), 0.0)
