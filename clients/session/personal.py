"""Playing a session with a network of the device's own: one the cloud has sent, or one that it trained itself."""

import numpy as np
import torch
from flwr.app import Message
from torch import Tensor

from clients import inference
from clients.decision import choose, note_losses
from clients.device_batch import Group
from clients.device_state import Weights
from clients.measurements import or_popular, report
from clients.messages import NETWORK, read_network

Own = tuple[np.ndarray, Weights]
"""Path ``(L,)`` bool and the weights of its blocks."""


def rerank(group: Group) -> list[Message]:
    """Play with the network that the cloud sent, else with the remembered one.

    A network that does not fit today's budget is not run: the device ranks by popularity instead.
    """
    most = np.array([budget.blocks_to_run(group.part, group.context) for budget in group.budgets])
    received = [read_network(m, group.blocks) if NETWORK in m.content else None for m in group.messages]
    return play(group, received, most)


def play(
    group: Group,
    made: list[Own | None],
    most: np.ndarray,
    base: list[Own] | None = None,
    macs_adapt: np.ndarray | None = None,
    macs_decide: np.ndarray | None = None,
) -> list[Message]:
    """Play with the network just ``made`` for each device, else the one it remembers, or its ``base``.

    What has more blocks than the device can run (``most``) is not run.
    """
    now, other = list(made), list(made)
    adapted = np.array([network is not None for network in made])
    for row, rules in enumerate(group.rules):
        if rules is None:
            continue
        choice = choose(rules, group.devices[row], group.orders[row].session, made[row])
        stale = None if base is None else base[row]
        if choice.stale is not None:
            stale = choice.stale.path, choice.stale.weights
        adapted[row] = choice.adapted
        now[row] = made[row] if choice.adapted else stale
        other[row] = (stale if choice.adapted else made[row]) or now[row]
    quality, paths, served = _play(group, now, most)
    compared: list[dict[str, float]] | None = None
    if any(rules is not None and rules.compare for rules in group.rules):
        against = _play(group, other, most)[0]
        compared = [
            {
                "hits_stale": int((against if fresh else quality).hits[row]),
                "ndcg_stale": float((against if fresh else quality).ndcg[row]),
                "hits_fresh": int((quality if fresh else against).hits[row]),
                "ndcg_fresh": float((quality if fresh else against).ndcg[row]),
            }
            for row, fresh in enumerate(adapted.tolist())
        ]
    targets = group.session[1]
    for row, rules in enumerate(group.rules):
        if rules is not None:
            ranks = quality.ranks[row][targets[row] > 0].numpy()
            note_losses(rules, group.devices[row], group.orders[row].session, ranks, group.part.backbone.num_items)
    return report(group, quality, paths, served, macs_adapt, macs_decide, compared)


def _play(
    group: Group, networks: list[Own | None], most: np.ndarray
) -> tuple[inference.Quality, np.ndarray, np.ndarray]:
    """Quality, paths ``(D, L)``, who was served ``(D,)``; without a network it can run a device ranks by popularity."""
    networks = [n if n is not None and n[0].sum() <= fits else None for n, fits in zip(networks, most, strict=True)]
    served = np.array([network is not None for network in networks])
    nothing = np.zeros(group.blocks, dtype=bool)
    paths = np.stack([nothing if n is None else n[0] for n in networks])
    own = [{} if n is None else n[1] for n in networks]

    def weights(k: int, rows: Tensor | None) -> Tensor:
        """Block ``k`` of the devices that have it, one at a time from what they hold."""
        return torch.from_numpy(np.stack([mine[k] for mine in own if k in mine]))

    quality = inference.rerank(group.part, *group.session, weights, torch.from_numpy(paths))
    return or_popular(group, quality, served), paths, served
