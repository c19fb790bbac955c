"""What a device computes: its request for a network, and the reranking of a session.

Every function carries a leading device axis. A real device calls it with ``D = 1``, the simulator with many, and both
get the same numbers.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from clients.local_data import SessionEvents
from models.backbones.base import BlockWeights
from models.device_part import DevicePart, chosen_path
from models.metrics import CUTOFF, hits, listed, measures, ndcg, ranks, sampled_ranks

PREDICTIONS = 512
"""Predictions scored at once: with 3,000 items, 6 MB of scores."""


@dataclass(frozen=True)
class Request:
    """What ``D`` devices ask of the cloud."""

    path: Tensor
    """``(D, L)`` bool: the blocks of the path of each."""
    latent: Tensor
    """``(D, 64)``: its latent interest."""


@dataclass(frozen=True)
class Beside:
    """What is measured beside the ranks among all candidates, for ``D`` devices with up to ``R`` events."""

    negatives: Tensor | None = None
    """``(D, R, S)``: the candidates that each item is ranked among, too; 0 fills up. None: nothing of that."""
    lists: bool = False
    """Whether the first ten items of each prediction are noted."""


@dataclass(frozen=True)
class Quality:
    """What ``D`` devices measured over a session, against all candidates."""

    events: Tensor
    """``(D,)``: predictions."""
    sums: dict[str, Tensor]
    """Sums ``(D,)`` float64 over the predictions, by the names of :func:`models.metrics.measures`, and where candidates
    were sampled ``hits_sampled`` and ``ndcg_sampled``, at cut-off 10."""
    ranks: Tensor
    """``(D, R)`` of each event, 0 where there is no prediction."""
    lists: Tensor | None = None
    """``(D, R, 10)``: what was recommended before each event, best first; 0 where nothing was."""

    @property
    def hits(self) -> Tensor:
        """``(D,)``: predictions whose item was among the first 10."""
        return self.sums["hits"].long()

    @property
    def ndcg(self) -> Tensor:
        """``(D,)``: the sum of NDCG@10."""
        return self.sums["ndcg"]


@torch.inference_mode()
def request(
    part: DevicePart,
    history: Tensor,
    lengths: Tensor,
    most: Tensor | None = None,
    redraw: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Request:
    """Extract path and latent interest from the recent items, ``(D, m)`` right-padded (equations 3, 7 and 9).

    ``most`` ``(D,)`` is each device's budget in blocks: of the blocks it would keep, it drops those with the lowest
    keep-logits until the path fits. A part without a controller knows one path, which the caller has to have room for.
    ``redraw`` turns the chosen paths ``(D, L)`` into those of an ablation.
    """
    embedded = part.embed_history(history)
    if part.controller is None:
        path = torch.ones(len(history), part.backbone.blocks, dtype=torch.bool)
        return Request(path, part.latent(embedded, lengths, None))
    logits = part.controller(embedded, lengths)
    chosen = chosen_path(logits, most)
    if redraw is not None:
        chosen = torch.from_numpy(redraw(chosen.numpy()))
    return Request(chosen, part.latent(embedded, lengths, logits, chosen))


@torch.inference_mode()
def path(part: DevicePart, history: Tensor, lengths: Tensor, fits: Callable[[int, np.ndarray], bool]) -> np.ndarray:
    """The path alone, ``(D, L)`` bool, of a part that has a controller but no extractor of the interest.

    ``fits(d, path)`` says whether device ``d`` can afford a path; as in :func:`request`, what it drops until then are
    the blocks with the lowest keep-logits.
    """
    assert part.controller is not None
    logits = part.controller(part.embed_history(history), lengths)
    likely = logits.argsort(dim=1, descending=True, stable=True).tolist()
    chosen: np.ndarray = chosen_path(logits).numpy()
    for d, blocks in enumerate(likely):
        while chosen[d].any() and not fits(d, chosen[d]):
            chosen[d, next(k for k in reversed(blocks) if chosen[d, k])] = False
    return chosen


@torch.inference_mode()
def interest(part: DevicePart, history: Tensor, lengths: Tensor) -> Tensor:
    """Where a device's interest lies, ``(D, 64)``: the latent interest, or without an extractor the mean of the recent
    items as an extractor would read them."""
    if part.interest is not None:
        return request(part, history, lengths).latent
    inside = torch.arange(history.shape[1]) < lengths.unsqueeze(1)
    return (part.embed_history(history) * inside.unsqueeze(2)).sum(1) / lengths.unsqueeze(1)


@torch.inference_mode()
def rerank(
    part: DevicePart,
    events: SessionEvents,
    weights: BlockWeights,
    keep: Tensor | None,
    units: Tensor | None = None,
    beside: Beside | None = None,
    shared: bool = False,
) -> Quality:
    """Play a session with each device's own network, or with one that they share.

    ``weights``, ``keep`` and ``units`` as in :meth:`models.backbones.base.Backbone.encode`. With ``shared`` weights
    nothing is computed for the places of the batch in which no prediction is.
    """
    windows, real = events.windows, events.targets > 0
    if shared and bool(real.any()):
        windows, units = windows[real].unsqueeze(1), None if units is None else units[real].unsqueeze(1)
        keep = None if keep is None else keep.repeat_interleave(real.sum(1), dim=0)
        states = part.backbone.encode(windows, weights, keep=keep, units=units)[:, 0, -1]
    else:
        states = part.backbone.encode(windows, weights, keep=keep, units=units)[:, :, -1][real]
    return judge(events, lambda some: part.backbone.score(states[some]), beside)


@torch.inference_mode()
def popular(part: DevicePart, events: SessionEvents, beside: Beside | None = None) -> Quality:
    """Play a session without any network: the most popular candidates, always in the same order."""
    order = -part.popularity[1:].to(torch.float32)
    count = int((events.targets > 0).sum())
    return judge(events, lambda some: order.repeat(len(range(count)[some]), 1), beside)


def judge(events: SessionEvents, score: Callable[[slice], Tensor], beside: Beside | None = None) -> Quality:
    """Rank what happened among the candidates; ``score`` gives ``(N, num_items)`` of a slice of the predictions."""
    beside = beside or Beside()
    real, wanted, seen = events.predictions()
    negatives = None if beside.negatives is None else beside.negatives[real]
    found, sampled, recommended = [wanted[:0]], [wanted[:0]], [torch.zeros(0, CUTOFF, dtype=torch.long)]
    for start in range(0, len(wanted), PREDICTIONS):
        some = slice(start, start + PREDICTIONS)
        scores = score(some)
        if seen is not None:
            scores = seen[some].exclude(scores)
        found.append(ranks(scores, wanted[some]))
        if negatives is not None:
            sampled.append(sampled_ranks(scores, wanted[some], negatives[some]))
        if beside.lists:
            best = listed(scores)
            recommended.append(torch.nn.functional.pad(best, (0, CUTOFF - best.shape[1])))
    rank = torch.cat(found)
    each = measures(rank)
    if negatives is not None:
        among = torch.cat(sampled)
        each |= {"hits_sampled": hits(among), "ndcg_sampled": ndcg(among)}
    out = torch.zeros(len(each), *real.shape, dtype=torch.float64)
    out[:, real] = torch.stack(list(each.values()))
    lists = None
    if beside.lists:
        lists = torch.zeros(*real.shape, CUTOFF, dtype=torch.long)
        lists[real] = torch.cat(recommended)
    # One term after the other: a sum of vectors is rounded by how many events the longest session of the batch has.
    sums = out.cumsum(2)[..., -1]
    return Quality(real.sum(1), dict(zip(each, sums, strict=True)), _placed(rank, real), lists)


def _placed(values: Tensor, real: Tensor) -> Tensor:
    """``values`` ``(N,)`` at the true entries of ``real`` ``(D, R)``, 0 elsewhere."""
    out = torch.zeros(real.shape, dtype=values.dtype)
    out[real] = values
    return out
