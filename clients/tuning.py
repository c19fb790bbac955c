"""The session of method Finetune: train on the device's own history (:mod:`clients.finetune`), then play."""

import numpy as np
import torch
from flwr.app import Message
from torch import Tensor

from clients import device, finetune, own
from clients.group import Group
from clients.report import or_popular, report
from clients.requests import decide
from models.networks import footprint


def rerank(group: Group) -> list[Message]:
    """The whole session. A device whose energy does not allow the training plays the installed network as it is."""
    part, network, blocks = group.part, group.installed.network, group.blocks
    assert network is not None
    planned = finetune.training_macs(part, *finetune.training_windows(group.past, part.backbone.context))
    everything = np.ones(blocks, dtype=bool)
    before = network.footprint(part.backbone, group.context, everything)
    after = footprint(part.backbone, group.context, everything)
    served = np.array([budget.fits(before) for budget in group.budgets])
    trains = np.array([budget.fits(after, int(macs)) for budget, macs in zip(group.budgets, planned, strict=True)])
    if any(group.rules):
        return _rerank_by_rules(group, trains, served, planned)
    able = np.flatnonzero(trains).tolist()
    tuned = finetune.tune(part, network, [group.past[row] for row in able]).weights if able else []
    where = torch.from_numpy(np.cumsum(trains) - 1)

    def weights(k: int, rows: Tensor | None) -> Tensor:
        """Trained weights of the devices that trained, installed ones of the others."""
        if trains.all():
            return tuned[k] if rows is None else tuned[k][rows]
        chosen = torch.arange(len(group)) if rows is None else rows
        out = network[k].expand(len(chosen), -1).clone()
        mine = torch.from_numpy(trains)[chosen]
        if mine.any():
            out[mine] = tuned[k][where[chosen[mine]]]
        return out

    paths = np.repeat(served[:, None], blocks, axis=1)
    quality = or_popular(group, device.rerank(part, *group.session, weights, torch.from_numpy(paths)), served)
    return report(group, quality, paths, served, np.where(trains, planned, 0))


def _rerank_by_rules(group: Group, trains: np.ndarray, served: np.ndarray, planned: np.ndarray) -> list[Message]:
    """The same where request policies say when to train: in between, a device plays what it trained last."""
    part, network, devices = group.part, group.installed.network, len(group)
    assert network is not None
    interests = device.interest(part, *group.history).numpy()
    asks, wanted = np.zeros(devices, dtype=bool), np.zeros(devices, dtype=bool)
    deciding = np.zeros(devices, dtype=np.int64)
    for row, rules in enumerate(group.rules):
        asks[row] = rules is None or decide(rules, group.devices[row], group.orders[row].session, interests[row])
        wanted[row] = trains[row] and (asks[row] or (rules is not None and rules.compare))
        deciding[row] = 0 if rules is None else rules.decision_macs(0)
    able = np.flatnonzero(wanted).tolist()
    tuned = finetune.tune(part, network, [group.past[row] for row in able]).weights if able else []
    everything = np.ones(group.blocks, dtype=bool)
    made: list[own.Own | None] = [None] * devices
    for place, row in enumerate(able):
        made[row] = (everything, {k: block[place].numpy() for k, block in enumerate(tuned)})
    base = (everything, {k: block[0].detach().numpy() for k, block in enumerate(network)})
    most = np.where(served, group.blocks, -1)
    return own.play(group, made, most, base, np.where(asks & trains, planned, 0), deciding)
