"""Playing a session with the network that was installed: all of it, or a path that the device chooses in it."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from clients import device
from clients.budget import Budget
from models.checkpoint import Installed
from models.networks import Footprint


@dataclass(frozen=True)
class Played:
    """What ``D`` devices did."""

    quality: device.Quality
    """Of the devices that were served."""
    paths: np.ndarray
    """``(D, L)`` bool: the blocks that ran."""
    served: np.ndarray
    """``(D,)`` bool: whose budget allowed it."""
    footprints: list[Footprint]
    """Of one inference; for gated networks the mean over the session."""


@torch.inference_mode()
def play(
    installed: Installed,
    windows: Tensor,
    targets: Tensor,
    budgets: list[Budget],
    wanted: np.ndarray,
    once: np.ndarray,
) -> Played:
    """Play with the blocks in ``wanted`` ``(D, L)``; ``once`` ``(D,)`` are multiply-accumulates spent before that.

    A device whose budget does not allow its path runs nothing and is not served.
    """
    network, backbone, context = installed.network, installed.part.backbone, windows.shape[-1]
    assert network is not None
    planned = [network.footprint(backbone, context, path) for path in wanted]
    served = np.array(
        [
            budget.allows(macs=plan.macs, model_bits=32 * plan.weights, once=int(before))
            for budget, plan, before in zip(budgets, planned, once, strict=True)
        ]
    )
    paths = wanted & served[:, None]
    units = network.units(installed.part, windows)
    quality = device.rerank(
        installed.part,
        windows,
        targets,
        lambda k, rows: network[k],
        None if paths.all() else torch.from_numpy(paths),
        units,
    )
    if units is None:
        return Played(quality, paths, served, planned)
    ran = [
        network.footprint(backbone, context, path, mine[real])
        for path, mine, real in zip(paths, units, targets > 0, strict=True)
    ]
    return Played(quality, paths, served, ran)
