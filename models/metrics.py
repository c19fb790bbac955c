"""Ranks, Hit@K, NDCG@K and reciprocal ranks, against all candidates or a sample of them."""

import torch
from torch import Tensor

CUTOFF = 10
HITS = {1: "hits_1", 5: "hits_5", CUTOFF: "hits", 20: "hits_20"}
"""The names of the hits, by cut-off."""
NDCGS = {1: "hits_1", 5: "ndcg_5", CUTOFF: "ndcg", 20: "ndcg_20"}
"""Those of the NDCG; at cut-off 1 it is the hits."""


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
    count = min(count, scores.shape[-1])
    best = scores.topk(count)
    if not (best.values < torch.inf).all():  # a NaN or an overflow counts as the largest here
        best = torch.where(scores.isfinite(), scores, -torch.inf).topk(count)
    return best.indices + 1


def listed(scores: Tensor, count: int = CUTOFF) -> Tensor:
    """What is recommended: :func:`best_items`, with 0 in the places for which there is no candidate left."""
    items = best_items(scores, count)
    return torch.where(scores.gather(-1, items - 1).isfinite(), items, 0)


def sampled_ranks(scores: Tensor, targets: Tensor, negatives: Tensor) -> Tensor:
    """Rank of each target among itself and a sample of the other candidates, by the rules of :func:`ranks`.

    ``scores`` ``(N, num_items)``; ``targets`` ``(N,)`` and ``negatives`` ``(N, S)`` are item ids from 1, and 0 fills up
    a sample that is smaller.
    """
    sample = torch.cat([targets.unsqueeze(1), negatives], dim=1)
    found = scores.gather(1, (sample - 1).clamp(min=0)).masked_fill_(sample == 0, -torch.inf)
    return torch.minimum(ranks(found, torch.ones_like(targets)), (sample > 0).sum(1))


def measures(rank: Tensor) -> dict[str, Tensor]:
    """All that is measured of predictions whose targets have these ranks ``(N,)``: by name, ``(N,)`` float64."""
    out = {name: hits(rank, cutoff) for cutoff, name in HITS.items()}
    gain = 1 / torch.log2(1 + rank.to(torch.float64))
    out |= {name: torch.where(out[HITS[k]] > 0, gain, 0.0) for k, name in NDCGS.items() if k > 1}
    return {**out, "mrr": torch.where(rank >= 1, 1 / rank.to(torch.float64), 0.0)}


def hits(rank: Tensor, cutoff: int = CUTOFF) -> Tensor:
    """1 where the target is among the first ``cutoff``, else 0; what is no rank (below 1, NaN) is no hit."""
    return ((rank >= 1) & (rank <= cutoff)).to(torch.float64)


def ndcg(rank: Tensor, cutoff: int = CUTOFF) -> Tensor:
    """With one relevant item: 1 / log2(1 + rank) within the cut-off, else 0."""
    return torch.where(hits(rank, cutoff) > 0, 1 / torch.log2(1 + rank.to(torch.float64)), 0.0)
