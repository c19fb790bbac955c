"""Playing a session with a network that the device makes itself, with the mapper that is installed on it."""

import numpy as np
import torch
from flwr.app import Message

from clients.ablations import Redraw
from clients.device_batch import DeviceBatch, as_weights
from clients.request import needed
from clients.session import personal
from models.hypernetwork import AnyMapper, by_device


def rerank(batch: DeviceBatch, redraw: Redraw | None = None) -> list[Message]:
    """The whole session: nothing is asked of the cloud, and the request policy says when the network is made anew."""
    mapper, found = batch.installed.mapper, needed(batch, redraw)
    assert isinstance(mapper, AnyMapper)
    rows = np.flatnonzero(found.adapts | found.compares).tolist()
    latents = [dict.fromkeys(np.flatnonzero(found.paths[row]).tolist(), found.latents[row]) for row in rows]
    made: list[personal.PersonalNetwork | None] = [None] * len(batch)
    with torch.inference_mode():
        networks = by_device(mapper.block, [{k: torch.from_numpy(v) for k, v in mine.items()} for mine in latents])
    for row, network in zip(rows, networks, strict=True):
        made[row] = found.paths[row], as_weights(network)
    making = np.array([batch.installed.making_macs(int(path.sum())) for path in found.paths])
    most = np.array([budget.blocks_to_run(batch.installed, batch.context) for budget in batch.budgets])
    adapting = np.where(found.adapts, found.extracting + making, 0)
    return personal.play(batch, made, most, macs_adapt=adapting, macs_decide=found.deciding)
