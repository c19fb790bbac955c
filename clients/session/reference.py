"""Playing a session with a ranking that needs no network (:mod:`models.references`)."""

import numpy as np
import torch
from flwr.app import Message

from clients import inference
from clients.device_batch import DeviceBatch
from clients.measurements import or_popular, report
from models.candidates import seen_before
from models.shared.plain import Footprint


@torch.inference_mode()
def rerank(batch: DeviceBatch) -> list[Message]:
    """Rank by the installed reference, or by popularity where the budget does not allow it."""
    reference, events = batch.installed.reference, batch.events
    assert reference is not None
    real = events.targets > 0
    whole = [np.concatenate([past, now]) for past, now in zip(batch.past, batch.during, strict=True)]
    known = np.array([len(past) for past in batch.past])[:, None] + np.arange(real.shape[1])
    past = seen_before(whole, np.minimum(known, np.array([len(one) for one in whole])[:, None]))
    types = _types(batch, real) if reference.types else None
    taken = [
        Footprint(macs, macs, 0, chosen=32 * reference.weights)  # counts stay as they are, whatever the device is
        for macs in _mean(reference.macs(past[real], types), real).round().int().tolist()
    ]
    served = np.array([budget.fits(one) for budget, one in zip(batch.budgets, taken, strict=True)])
    mine = past[real]
    quality = inference.judge(
        events, lambda some: reference.scores(mine[some], None if types is None else types[some]), batch.beside
    )
    paths = np.zeros((len(batch), batch.blocks), dtype=bool)
    return report(batch, or_popular(batch, quality, served), paths, served, footprints=taken)


def _types(batch: DeviceBatch, real: torch.Tensor) -> torch.Tensor:
    """The user's type at each true entry of ``real`` ``(D, R)``, ``(N,)``."""
    table = torch.zeros(real.shape, dtype=torch.long)
    for row, config in enumerate(batch.configs):
        assert config.types is not None
        table[row, : len(config.types)] = torch.from_numpy(config.types.astype(np.int64))
    return table[real]


def _mean(values: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """The mean of a device's ``values`` ``(N,)``, one for each true entry of ``real`` ``(D, R)``; 0 without one."""
    table = torch.zeros(real.shape, dtype=torch.float64)
    table[real] = values.double()
    return table.sum(1) / real.sum(1).clamp(min=1)
