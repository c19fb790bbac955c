"""The session of the methods that train on the device's own history (:mod:`clients.local_training`) before they
play."""

from dataclasses import dataclass

import numpy as np
import torch
from flwr.app import Message

from clients import inference, local_training
from clients.decision import decide
from clients.device_batch import Group
from clients.session import personal
from models.shared.plain import footprint


@dataclass(frozen=True)
class Wishes:
    """What ``D`` devices want of a session."""

    adapts: np.ndarray
    """``(D,)`` bool: who makes itself a new network."""
    makes: np.ndarray
    """``(D,)`` bool: those, and whose new network is only made for the simulator to compare."""
    macs: np.ndarray
    """``(D,)``: what deciding took."""


def wishes(group: Group) -> Wishes:
    """By the devices' request policies; without one a device always adapts."""
    adapts, compares = np.ones(len(group), dtype=bool), np.zeros(len(group), dtype=bool)
    deciding = np.zeros(len(group), dtype=np.int64)
    if any(group.rules):
        interests = inference.interest(group.part, *group.history).numpy()
        for row, rules in enumerate(group.rules):
            if rules is not None:
                adapts[row] = decide(rules, group.devices[row], group.orders[row].session, interests[row])
                compares[row], deciding[row] = rules.compare, rules.decision_macs(0)
    return Wishes(adapts, adapts | compares, deciding)


def rerank(group: Group) -> list[Message]:
    """The whole session of method Finetune, which trains all blocks of the installed network."""
    everything, none = np.ones((len(group), group.blocks), dtype=bool), np.zeros(len(group), dtype=np.int64)
    return tune_and_play(group, wishes(group), everything, none.astype(bool), none)


def tune_and_play(group: Group, wishes: Wishes, paths: np.ndarray, new: np.ndarray, spent: np.ndarray) -> list[Message]:
    """Train the blocks in ``paths`` ``(D, L)`` of the installed network, and play.

    A device whose energy does not allow the training plays what it has trained last, or if the path is ``new`` ``(D,)``
    or there is nothing, the installed weights as they are. ``spent`` ``(D,)`` are multiply-accumulates of adapting
    before the training.
    """
    part, network = group.part, group.installed.network
    assert network is not None
    windows, targets = local_training.training_windows(group.past, part.backbone.context)
    planned = local_training.training_macs(part, windows, targets, paths.sum(axis=1))
    able = np.array(
        [
            budget.fits(footprint(part.backbone, group.context, path), int(once))
            for budget, path, once in zip(group.budgets, paths, spent + planned, strict=True)
        ]
    )
    trains = wishes.makes & able & paths.any(axis=1)
    rows = np.flatnonzero(trains).tolist()
    keep = torch.from_numpy(paths[rows])
    tuned = local_training.tune(part, network, [group.past[row] for row in rows], keep).weights if rows else []
    places = keep.cumsum(dim=0) - 1
    base: list[personal.Own] = [
        (path, {k: network[k][0].numpy() for k in np.flatnonzero(path).tolist()}) for path in paths
    ]
    made: list[personal.Own | None] = [None] * len(group)
    for place, row in enumerate(rows):
        mine = np.flatnonzero(paths[row]).tolist()
        made[row] = (paths[row], {k: tuned[k][places[place, k]].numpy() for k in mine})
    for row in np.flatnonzero(~trains & wishes.adapts).tolist():
        if new[row] or group.rules[row] is None:
            made[row] = base[row]
    most = np.array([budget.blocks_to_run(part, group.context) for budget in group.budgets])
    adapting = spent + np.where(wishes.adapts & trains, planned, 0)
    return personal.play(group, made, most, base, adapting, wishes.macs)
