"""Playing a session with the network that was installed: all of it, or a path that the device chooses in it."""

import numpy as np
import torch
from flwr.app import Message
from torch import Tensor

from clients import inference
from clients.device_batch import Group
from clients.measurements import or_popular, report
from models.shared.plain import Footprint


def rerank(group: Group) -> list[Message]:
    """Play with all blocks."""
    return _play(group, np.ones((len(group), group.blocks), dtype=bool), np.zeros(len(group)))


def choose_and_rerank(group: Group) -> list[Message]:
    """Play with the blocks that each device's controller chooses; nothing is asked of the cloud."""
    part, (history, lengths) = group.part, group.history
    spent = np.array([part.request_macs(int(length)) for length in lengths])

    def fits(d: int, path: np.ndarray) -> bool:
        return group.budgets[d].fits(_footprint(group, path), int(spent[d]))

    return _play(group, inference.path(part, history, lengths, fits), spent)


@torch.inference_mode()
def _play(group: Group, wanted: np.ndarray, spent: np.ndarray) -> list[Message]:
    """Play with the blocks in ``wanted`` ``(D, L)``; ``spent`` ``(D,)`` are multiply-accumulates before the session.

    A device whose budget does not allow its path runs nothing and is not served.
    """
    network, (windows, targets) = group.installed.network, group.session
    assert network is not None
    taken = [_footprint(group, path) for path in wanted]
    served = np.array(
        [budget.fits(plan, int(before)) for budget, plan, before in zip(group.budgets, taken, spent, strict=True)]
    )
    paths = wanted & served[:, None]
    units = network.units(group.part, windows)
    quality = inference.rerank(group.part, windows, targets, lambda k, rows: network[k], torch.from_numpy(paths), units)
    if units is not None:
        taken = [
            _footprint(group, path, mine[real]) for path, mine, real in zip(paths, units, targets > 0, strict=True)
        ]
    return report(group, or_popular(group, quality, served), paths, served, spent, footprints=taken)


def _footprint(group: Group, path: np.ndarray, units: Tensor | None = None) -> Footprint:
    """Of the installed network, as it says itself."""
    assert group.installed.network is not None
    return group.installed.network.footprint(group.part.backbone, group.context, path, units)
