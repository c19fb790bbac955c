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
    made = torch.arange(real.shape[1]) < torch.tensor([len(now) for now in batch.during])[:, None]  # scored or not
    whole = [np.concatenate([past, now]) for past, now in zip(batch.past, batch.during, strict=True)]
    known = np.array([len(past) for past in batch.past])[:, None] + np.arange(real.shape[1])
    past = seen_before(whole, np.minimum(known, np.array([len(one) for one in whole])[:, None]))
    table = _types(batch, made) if reference.types else None
    macs = torch.zeros(made.shape, dtype=torch.float64)
    macs[made] = reference.macs(past[made], None if table is None else table[made]).double()
    mean = macs.sum(1) / made.sum(1).clamp(min=1)
    taken, first = (
        [Footprint(one, one, 0, chosen=32 * reference.weights) for one in values.round().int().tolist()]
        for values in (mean, macs[:, 0])  # counts stay as they are, whatever the device is
    )
    # What comes later in the session, no device knows when it has to decide.
    served = np.array([budget.fits(one) for budget, one in zip(batch.budgets, first, strict=True)])
    mine, types = past[real], None if table is None else table[real]
    quality = inference.judge(
        events, lambda some: reference.scores(mine[some], None if types is None else types[some]), batch.beside
    )
    paths = np.zeros((len(batch), batch.blocks), dtype=bool)
    return report(batch, or_popular(batch, quality, served), paths, served, footprints=taken)


def _types(batch: DeviceBatch, made: torch.Tensor) -> torch.Tensor:
    """The user's type at each interaction of the sessions, ``(D, R)`` as ``made``."""
    table = torch.zeros(made.shape, dtype=torch.long)
    for row, config in enumerate(batch.configs):
        assert config.types is not None
        table[row, : len(config.types)] = torch.from_numpy(config.types.astype(np.int64))
    return table
