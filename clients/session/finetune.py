"""The session of the methods that train on the device's own history (:mod:`clients.local_training`) before they
play."""

import logging
from dataclasses import dataclass

import numpy as np
import torch
from flwr.app import Message
from torch import Tensor

from clients import inference, local_training
from clients.decision import decide
from clients.device_batch import DeviceBatch
from clients.session import personal
from models.shared.plain import footprint

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AdaptationPlan:
    """What ``D`` devices do before a session."""

    adapts: np.ndarray
    """``(D,)`` bool: who makes itself a new network."""
    makes: np.ndarray
    """``(D,)`` bool: those, and whose new network is only made for the simulator to compare."""
    macs: np.ndarray
    """``(D,)``: what deciding took."""


def plan(batch: DeviceBatch) -> AdaptationPlan:
    """By the devices' request policies; without one a device always adapts."""
    adapts, compares = np.ones(len(batch), dtype=bool), np.zeros(len(batch), dtype=bool)
    deciding = np.zeros(len(batch), dtype=np.int64)
    if any(batch.policies):
        interests = inference.interest(batch.part, *batch.history).numpy()
        for row, policy in enumerate(batch.policies):
            if policy is not None:
                adapts[row] = decide(policy, batch.configs[row].session, interests[row])
                compares[row], deciding[row] = (
                    policy.config.compare,
                    policy.decision_macs(batch.configs[row].session, 0),
                )
    return AdaptationPlan(adapts, adapts | compares, deciding)


def rerank(batch: DeviceBatch) -> list[Message]:
    """The whole session of method Finetune, which trains all blocks of the installed network."""
    everything, none = np.ones((len(batch), batch.blocks), dtype=bool), np.zeros(len(batch), dtype=np.int64)
    return tune_and_play(batch, plan(batch), everything, none.astype(bool), none)


def tune_and_play(
    batch: DeviceBatch, plan: AdaptationPlan, paths: np.ndarray, new: np.ndarray, spent: np.ndarray
) -> list[Message]:
    """Train the blocks in ``paths`` ``(D, L)`` of the installed network, and play.

    A device whose energy does not allow the training plays what it has trained last, or if the path is ``new`` ``(D,)``
    or there is nothing, the installed weights as they are. One whose training diverges plays the installed weights and
    says so in the log. ``spent`` ``(D,)`` are multiply-accumulates of adapting
    before the training.
    """
    part, network = batch.part, batch.installed.network
    assert network is not None
    candidates = batch.installed.candidates
    cut = local_training.training_windows(batch.past, part.backbone.context, candidates=candidates)
    planned = local_training.training_macs(part, cut.windows, cut.targets, paths.sum(axis=1))
    able = np.array(
        [
            budget.fits(footprint(part.backbone, batch.context, path), int(once))
            for budget, path, once in zip(batch.budgets, paths, spent + planned, strict=True)
        ]
    )
    trains = plan.makes & able & paths.any(axis=1)
    rows = np.flatnonzero(trains).tolist()
    keep = torch.from_numpy(paths[rows])
    tuned: list[Tensor] = []
    if rows:
        known = cut if len(rows) == len(batch) else None  # of fewer devices there may be fewer windows
        trained = local_training.tune(part, network, [batch.past[row] for row in rows], keep, candidates, known)
        tuned = trained.weights
        for place in np.flatnonzero(trained.diverged).tolist():
            device, session = batch.devices[rows[place]], batch.configs[rows[place]].session
            log.warning(
                "device %d, session %d: its own training diverged; it keeps the installed network", device, session
            )
    places = keep.cumsum(dim=0) - 1
    base: list[personal.PersonalNetwork] = [
        (path, {k: network[k][0].numpy() for k in np.flatnonzero(path).tolist()}) for path in paths
    ]
    made: list[personal.PersonalNetwork | None] = [None] * len(batch)
    for place, row in enumerate(rows):
        mine = np.flatnonzero(paths[row]).tolist()
        made[row] = (paths[row], {k: tuned[k][places[place, k]].numpy() for k in mine})
    for row in np.flatnonzero(~trains & plan.adapts).tolist():
        if new[row] or batch.policies[row] is None:
            made[row] = base[row]
    most = np.array([budget.blocks_to_run(batch.installed, batch.context) for budget in batch.budgets])
    adapting = spent + np.where(plan.adapts & trains, planned, 0)
    return personal.play(batch, made, most, base, adapting, plan.macs)
