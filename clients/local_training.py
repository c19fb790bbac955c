"""On-device training of method Finetune, for many devices at once on the device axis.

Each device starts from the installed network and takes Adam steps on its own most recent interactions (full softmax,
every position a target). Only block weights are trained: they are what a device owns; item embeddings are shared
content. As in the released DUET code the learning rate is that of the cloud, and the training is short.

A device checks what it has trained. If a weight is not finite, its training diverged: it throws the result away and
keeps the installed network. Its session goes on, as that of a device without the energy to train, and the energy is
spent all the same; a network of NaN would rank nothing, and to drop the session would hide a loss of quality.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from clients.local_data import SessionEvents, recent
from models.backbones.base import DIM
from models.candidates import Candidates, repeats, seen_before
from models.device_part import DevicePart
from models.kernels.softmax_loss import full_softmax_loss

STEPS = 3
LEARNING_RATE = 1e-3
INTERACTIONS = 101
"""Most recent interactions a device trains on: 100 targets, ten windows of ten."""

BACKWARD = 3
"""A training step multiplies about three times as much as a forward pass: once forward, twice backward."""


@dataclass(frozen=True)
class Tuned:
    """The devices' own networks after training."""

    weights: list[Tensor]
    """Of each block, ``(D_k, block_size)``: of the devices that run it, in their order. All are finite."""
    macs: np.ndarray
    """``(D,)`` multiply-accumulates that training took."""
    diverged: np.ndarray
    """``(D,)`` bool: whose training gave a weight that is not finite; they have the installed weights."""


def tune(
    part: DevicePart,
    network: Iterable[Tensor],
    past: list[np.ndarray],
    keep: Tensor | None = None,
    candidates: Candidates = "all",
    cut: SessionEvents | None = None,
) -> Tuned:
    """Fine-tune ``network`` (each block ``(1, block_size)``) on each device's past items.

    ``keep`` ``(D, L)`` bool are the blocks that each device runs, and trains; None: all of them. ``cut`` is what
    :func:`training_windows` gives for ``past``, where the caller has it. The loss of a device
    is the mean over its own targets and devices share no weight, so a device's result does not depend on which others
    are trained beside it.
    """
    backbone = part.backbone
    windows, targets, seen = cut or training_windows(past, backbone.context, candidates=candidates)
    devices = len(past)
    keep = torch.ones(devices, backbone.blocks, dtype=torch.bool) if keep is None else keep
    macs = training_macs(part, windows, targets, keep.sum(dim=1).numpy())
    installed = [
        block.detach().expand(count, -1) for block, count in zip(network, keep.sum(dim=0).tolist(), strict=True)
    ]
    weights = [block.clone().requires_grad_(True) for block in installed]
    real = targets > 0
    count = real.sum(dim=(1, 2)).clamp(min=1)
    share = (1 / count.to(torch.float32))[:, None, None].expand_as(targets)[real]

    with torch.enable_grad():
        optimizer = torch.optim.Adam(weights, lr=LEARNING_RATE)
        for _ in range(STEPS):
            states = backbone.encode(windows, lambda k, rows: weights[k], keep=keep)
            loss = full_softmax_loss(
                states[real], backbone.items, targets[real], share, seen=None if seen is None else seen[real]
            )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
    found = [w.detach() for w in weights]
    diverged = torch.zeros(devices, dtype=torch.bool)
    for k, mine in enumerate(found):
        diverged[keep[:, k]] |= ~mine.isfinite().all(dim=1)
    if diverged.any():
        found = [
            torch.where(diverged[keep[:, k], None], before, mine)
            for k, (before, mine) in enumerate(zip(installed, found, strict=True))
        ]
    return Tuned(found, macs, diverged.numpy())


def training_macs(part: DevicePart, windows: Tensor, targets: Tensor, blocks: np.ndarray) -> np.ndarray:
    """What training ``blocks`` ``(D,)`` of the blocks on these windows ``(D, R, context)`` multiplies, ``(D,)``; known
    before it begins."""
    backbone = part.backbone
    used = (windows != 0).any(dim=2).sum(dim=1).numpy()
    count = (targets > 0).sum(dim=(1, 2)).clamp(min=1).numpy()
    window_macs = blocks * backbone.block_macs(backbone.context)
    return np.asarray(STEPS * BACKWARD * (used * window_macs + count * backbone.num_items * DIM))


def planned_macs(part: DevicePart, past: int, blocks: int) -> int:
    """The same for a device with ``past`` interactions, whichever they are."""
    known = np.ones(min(past, 2 * INTERACTIONS + part.backbone.context), dtype=np.int64)
    windows, targets, _ = training_windows([known], part.backbone.context)
    return int(training_macs(part, windows, targets, np.array([blocks]))[0])


def training_windows(
    past: list[np.ndarray], context: int, most: int = INTERACTIONS - 1, candidates: Candidates = "all"
) -> SessionEvents:
    """The last interactions of each device, about ``most`` targets, cut into windows, newest first.

    Windows are ``(D, R, context)``, left-padded with 0. Targets ``(D, R, context)`` are the next item of each position,
    0 where there is none or it is no candidate, and what was seen before each has their shape.
    """
    length = -(-most // context) * context
    items, lengths = recent(past, length + 1)
    windows = torch.zeros(len(past), length // context, context, dtype=torch.long)
    targets = torch.zeros_like(windows)
    for row, known in enumerate(lengths.tolist()):
        line = torch.cat([torch.zeros(length + 1 - known, dtype=torch.long), items[row, :known]])
        windows[row] = line[:-1].view(-1, context).flip(0)
        targets[row] = torch.where(line[:-1] > 0, line[1:], 0).view(-1, context).flip(0)
    filled = max(1, int((windows != 0).any(dim=2).sum(dim=1).max()))
    windows, targets = windows[:, :filled], targets[:, :filled]
    if candidates == "all":
        return SessionEvents(windows, targets, None)
    # Position p of the flattened line, oldest first, has the target at p + 1 from its begin.
    places = np.arange(length).reshape(-1, context)[::-1][:filled]
    known = np.array([len(one) for one in past])[:, None, None] - length + places
    again = repeats(np.cumsum([0, *(len(one) for one in past)]), np.concatenate(past))
    for row, (end, mine) in enumerate(zip(np.cumsum([len(one) for one in past]), past, strict=True)):
        inside = known[row] >= 0
        repeated = np.zeros_like(inside)
        repeated[inside] = again[end - len(mine) + known[row][inside]]
        targets[row][torch.from_numpy(repeated)] = 0
    return SessionEvents(windows, targets, seen_before(past, known.clip(min=0)))
