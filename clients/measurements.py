"""What a device reports of a session, whichever way it came to its network."""

from typing import Any

import numpy as np
import torch
from flwr.app import Message, MetricRecord

from clients import inference
from clients.device_batch import DeviceBatch, Records
from clients.fields import QUALITY_FIELDS, SAMPLED_FIELDS
from clients.messages import MEASURED
from models.shared.plain import Footprint, footprint


def or_popular(batch: DeviceBatch, quality: inference.Quality, served: np.ndarray) -> inference.Quality:
    """The measured quality where a device was served ``(D,)``, that of the most popular items elsewhere."""
    if served.all():
        return quality
    fallback = inference.popular(batch.part, batch.events, batch.beside)
    have = torch.from_numpy(served)
    lists = None
    if quality.lists is not None and fallback.lists is not None:
        lists = torch.where(have[:, None, None], quality.lists, fallback.lists)
    return inference.Quality(
        quality.events,
        {name: torch.where(have, mine, fallback.sums[name]) for name, mine in quality.sums.items()},
        torch.where(have.unsqueeze(1), quality.ranks, fallback.ranks),
        lists,
    )


def report(
    batch: DeviceBatch,
    quality: inference.Quality,
    paths: np.ndarray,
    served: np.ndarray,
    macs_adapt: np.ndarray | None = None,
    macs_decide: np.ndarray | None = None,
    compared: list[dict[str, float] | None] | None = None,
    footprints: list[Footprint] | None = None,
) -> list[Message]:
    """The measurements of a session, played with the blocks in ``paths`` ``(D, L)``.

    A device that was not served ran nothing. Without ``footprints`` its network stored every weight of its path. What
    was recommended stays on the devices' disks.
    """
    if quality.lists is not None:
        batch.note_lists(quality.lists)
    fields = QUALITY_FIELDS + (SAMPLED_FIELDS if batch.evaluation.sampled else ())
    sums = [(field.name, field.kind, quality.sums[field.name].tolist()) for field in fields]
    records: list[Records] = []
    for row in range(len(batch)):
        ok = bool(served[row])
        taken = footprint(batch.part.backbone, batch.context, paths[row]) if footprints is None else footprints[row]
        measured: dict[str, Any] = {
            "events": int(quality.events[row]),
            **{name: kind(values[row]) for name, kind, values in sums},
            "served": int(ok),
            "macs": taken.macs if ok else 0,
            "macs_paper": taken.macs_paper if ok else 0,
            "macs_adapt": 0 if macs_adapt is None else int(macs_adapt[row]),
            "macs_decide": 0 if macs_decide is None else int(macs_decide[row]),
            "param_bits": taken.bits(batch.installed.arithmetic.bits) if ok else 0,
            "path": int(path_bits(paths[row])),
            **((compared[row] if compared is not None else None) or {}),
        }
        records.append({MEASURED: MetricRecord(measured)})
    return batch.replies(records)


def path_bits(paths: np.ndarray) -> np.ndarray:
    """Paths ``(..., L)`` as numbers: bit 0 is the first block."""
    bits: np.ndarray = paths @ (1 << np.arange(paths.shape[-1]))
    return bits
