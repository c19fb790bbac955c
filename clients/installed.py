"""Playing a session with the network that was installed: all of it, or a path that the device chooses in it."""

import numpy as np
import torch
from flwr.app import Message

from clients import device
from clients.group import Group
from clients.report import or_popular, report


def rerank(group: Group) -> list[Message]:
    """Play with all blocks."""
    return _play(group, np.ones((len(group), group.blocks), dtype=bool), np.zeros(len(group)))


def choose_and_rerank(group: Group) -> list[Message]:
    """Play with the blocks that each device's controller chooses; nothing is asked of the cloud."""
    part, (history, lengths) = group.part, group.history
    spent = np.array([part.request_macs(int(length)) for length in lengths])
    most = torch.tensor(
        [
            budget.blocks_to_run(part, group.context, int(macs))
            for budget, macs in zip(group.budgets, spent, strict=True)
        ]
    )
    return _play(group, device.path(part, history, lengths, most).numpy(), spent)


@torch.inference_mode()
def _play(group: Group, wanted: np.ndarray, spent: np.ndarray) -> list[Message]:
    """Play with the blocks in ``wanted`` ``(D, L)``; ``spent`` ``(D,)`` are multiply-accumulates before the session.

    A device whose budget does not allow its path runs nothing and is not served.
    """
    network, backbone, (windows, targets) = group.installed.network, group.part.backbone, group.session
    assert network is not None
    taken = [network.footprint(backbone, group.context, path) for path in wanted]
    served = np.array(
        [
            budget.allows(macs=plan.macs, model_bits=32 * plan.weights, once=int(before))
            for budget, plan, before in zip(group.budgets, taken, spent, strict=True)
        ]
    )
    paths = wanted & served[:, None]
    units = network.units(group.part, windows)
    quality = device.rerank(group.part, windows, targets, lambda k, rows: network[k], torch.from_numpy(paths), units)
    if units is not None:
        taken = [
            network.footprint(backbone, group.context, path, mine[real])
            for path, mine, real in zip(paths, units, targets > 0, strict=True)
        ]
    return report(group, or_popular(group, quality, served), paths, served, spent, footprints=taken)
