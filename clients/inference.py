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
from models.metrics import hits, ndcg, ranks

PREDICTIONS = 512
"""Predictions scored at once: with 3,000 items, 6 MB of scores."""


@dataclass(frozen=True)
class Request:
    """What ``D`` devices ask of the cloud."""

    path: Tensor
    """``(D, L)`` bool: the blocks each wants."""
    latent: Tensor
    """``(D, 64)``: its latent interest."""


@dataclass(frozen=True)
class Quality:
    """What ``D`` devices measured over a session: sums over its predictions, at cut-off 10 against all candidates."""

    events: Tensor
    hits: Tensor
    ndcg: Tensor
    ranks: Tensor
    """``(D, R)`` of each event, 0 where there is no prediction."""


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
) -> Quality:
    """Play a session with each device's own network.

    ``weights``, ``keep`` and ``units`` as in :meth:`models.backbones.base.Backbone.encode`.
    """
    states = part.backbone.encode(events.windows, weights, keep=keep, units=units)[:, :, -1][events.targets > 0]
    return judge(events, lambda some: part.backbone.score(states[some]))


@torch.inference_mode()
def popular(part: DevicePart, events: SessionEvents) -> Quality:
    """Play a session without any network: the most popular candidates, always in the same order."""
    order = -part.popularity[1:].to(torch.float32)
    count = int((events.targets > 0).sum())
    return judge(events, lambda some: order.repeat(len(range(count)[some]), 1))


def judge(events: SessionEvents, score: Callable[[slice], Tensor]) -> Quality:
    """Rank what happened among the candidates; ``score`` gives ``(N, num_items)`` of a slice of the predictions."""
    real, wanted, seen = events.predictions()
    found = [wanted[:0]]
    for start in range(0, len(wanted), PREDICTIONS):
        some = slice(start, start + PREDICTIONS)
        scores = score(some)
        found.append(ranks(scores if seen is None else seen[some].exclude(scores), wanted[some]))
    rank = torch.cat(found)
    out = torch.zeros(3, *real.shape, dtype=torch.float64)
    out[0][real], out[1][real], out[2][real] = hits(rank), ndcg(rank), rank.to(torch.float64)
    return Quality(real.sum(1), out[0].sum(1).long(), out[1].sum(1), out[2].long())
