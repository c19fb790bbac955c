"""Playing a session with a network of the device's own: one the cloud has sent, or one that it trained itself."""

import numpy as np
import torch
from flwr.app import Message
from torch import Tensor

from clients import inference
from clients.decision import choose, note_losses
from clients.device_batch import DeviceBatch
from clients.device_state import Weights
from clients.measurements import or_popular, report
from models.shared.plain import Footprint
from models.shared.specialised import SpecialisedNetwork

PersonalNetwork = tuple[np.ndarray, Weights]
"""Path ``(L,)`` bool and the weights of its blocks, or what was chosen for them (:mod:`models.shared.specialised`)."""


def rerank(batch: DeviceBatch) -> list[Message]:
    """Play with the network that the cloud sent, else with the remembered one.

    A network that does not fit today's budget is not run: the device ranks by popularity instead.
    """
    most = np.array([budget.blocks_to_run(batch.installed, batch.context) for budget in batch.budgets])
    return play(batch, batch.received, most)


def play(
    batch: DeviceBatch,
    made: list[PersonalNetwork | None],
    most: np.ndarray,
    base: list[PersonalNetwork] | None = None,
    macs_adapt: np.ndarray | None = None,
    macs_decide: np.ndarray | None = None,
) -> list[Message]:
    """Play with the network just ``made`` for each device, else the one it remembers, or its ``base``.

    What has more blocks than the device can run (``most``) is not run.
    """
    now, other = list(made), list(made)
    adapted = np.array([network is not None for network in made])
    for row, policy in enumerate(batch.policies):
        if policy is None:
            continue
        networks = choose(policy, batch.configs[row].session, made[row])
        stale = None if base is None else base[row]
        if networks.stale is not None:
            stale = networks.stale.path, networks.stale.weights
        adapted[row] = networks.adapted
        now[row] = made[row] if networks.adapted else stale
        other[row] = (stale if networks.adapted else made[row]) or now[row]
    quality, paths, served = _play(batch, now, most)
    footprints = _footprints(batch, now, paths)
    compared: list[dict[str, float] | None] = [None] * len(batch)
    compares = [policy is not None and policy.config.compare for policy in batch.policies]
    if any(compares):
        against = _play(batch, other, most)[0]
        compared = [
            {
                "hits_stale": int((against if fresh else quality).hits[row]),
                "ndcg_stale": float((against if fresh else quality).ndcg[row]),
                "hits_fresh": int((quality if fresh else against).hits[row]),
                "ndcg_fresh": float((quality if fresh else against).ndcg[row]),
            }
            if compares[row]
            else None
            for row, fresh in enumerate(adapted.tolist())
        ]
    targets = batch.events.targets
    for row, policy in enumerate(batch.policies):
        if policy is not None:
            ranks = quality.ranks[row][targets[row] > 0].numpy()
            note_losses(policy, batch.configs[row].session, ranks, batch.part.backbone.num_items)
    return report(batch, quality, paths, served, macs_adapt, macs_decide, compared, footprints)


def _footprints(
    batch: DeviceBatch, networks: list[PersonalNetwork | None], paths: np.ndarray
) -> list[Footprint] | None:
    """What each network takes that was made of the installed one; None: every weight of its path is stored."""
    network, backbone = batch.installed.network, batch.part.backbone
    if not isinstance(network, SpecialisedNetwork):
        return None
    chosen = [{} if one is None else one[1] for one in networks]
    return [
        network.specialised_footprint(backbone, batch.context, path, mine)
        for path, mine in zip(paths, chosen, strict=True)
    ]


def _play(
    batch: DeviceBatch, networks: list[PersonalNetwork | None], most: np.ndarray
) -> tuple[inference.Quality, np.ndarray, np.ndarray]:
    """Quality, paths ``(D, L)``, who was served ``(D,)``; without a network it can run a device ranks by popularity."""
    networks = [n if n is not None and n[0].sum() <= fits else None for n, fits in zip(networks, most, strict=True)]
    served = np.array([network is not None for network in networks])
    nothing = np.zeros(batch.blocks, dtype=bool)
    paths = np.stack([nothing if n is None else n[0] for n in networks])
    own = [{} if n is None else n[1] for n in networks]

    def weights(k: int, rows: Tensor | None) -> Tensor:
        """Block ``k`` of the devices that have it, one at a time from what they hold."""
        held = torch.from_numpy(np.stack([mine[k] for mine in own if k in mine]))
        network = batch.installed.network
        return network.specialise(k, held) if isinstance(network, SpecialisedNetwork) else held

    quality = inference.rerank(batch.part, batch.events, weights, torch.from_numpy(paths), beside=batch.beside)
    return or_popular(batch, quality, served), paths, served
