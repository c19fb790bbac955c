"""Playing a session with the network that was installed: all of it, or a path that the device chooses in it."""

import numpy as np
import torch
from flwr.app import Message
from torch import Tensor

from clients import inference
from clients.device_batch import DeviceBatch
from clients.measurements import or_popular, report
from models.shared.plain import Footprint


def rerank(batch: DeviceBatch) -> list[Message]:
    """Play with all blocks."""
    return _play(batch, np.ones((len(batch), batch.blocks), dtype=bool), np.zeros(len(batch)))


def choose_and_rerank(batch: DeviceBatch) -> list[Message]:
    """Play with the blocks that each device's controller chooses; nothing is asked of the cloud."""
    part, (history, lengths) = batch.part, batch.history
    spent = np.array([part.request_macs(int(length)) for length in lengths])

    def fits(d: int, path: np.ndarray) -> bool:
        return batch.budgets[d].fits(_footprint(batch, path), int(spent[d]))

    return _play(batch, inference.path(part, history, lengths, fits), spent)


@torch.inference_mode()
def _play(batch: DeviceBatch, wanted: np.ndarray, spent: np.ndarray) -> list[Message]:
    """Play with the blocks in ``wanted`` ``(D, L)``; ``spent`` ``(D,)`` are multiply-accumulates before the session.

    A device whose budget does not allow its path runs nothing and is not served.
    """
    network, events = batch.installed.network, batch.events
    assert network is not None
    taken = [_footprint(batch, path) for path in wanted]
    served = np.array(
        [budget.fits(plan, int(before)) for budget, plan, before in zip(batch.budgets, taken, spent, strict=True)]
    )
    paths = wanted & served[:, None]
    units = network.units(batch.part, events.windows)
    quality = inference.rerank(
        batch.part, events, lambda k, rows: network[k], torch.from_numpy(paths), units, batch.beside, shared=True
    )
    if units is not None:
        taken = [
            _footprint(batch, path, mine[real])
            for path, mine, real in zip(paths, units, events.targets > 0, strict=True)
        ]
    return report(batch, or_popular(batch, quality, served), paths, served, spent, footprints=taken)


def _footprint(batch: DeviceBatch, path: np.ndarray, units: Tensor | None = None) -> Footprint:
    """Of the installed network, as it says itself."""
    assert batch.installed.network is not None
    return batch.installed.network.footprint(batch.part.backbone, batch.context, path, units)
