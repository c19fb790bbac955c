"""Step 1 of a session: which network a device needs, and whether it asks the cloud for it."""

from dataclasses import dataclass

import numpy as np
import torch
from flwr.app import Message

from clients import inference
from clients.ablations import Redraw
from clients.decision import decide
from clients.device_batch import DeviceBatch, Records
from clients.messages import pack_decline, pack_probe, pack_request


@dataclass(frozen=True)
class Needed:
    """Which networks ``D`` devices need for a session, and who gets or makes one."""

    paths: np.ndarray
    """``(D, L)`` bool."""
    latents: np.ndarray
    """``(D, 64)``: their latent interests."""
    adapts: np.ndarray
    """``(D,)`` bool: those that can afford a network and by their request policies adapt."""
    compares: np.ndarray
    """``(D,)`` bool: of the others that can afford one those whose new network the simulator compares."""
    extracting: np.ndarray
    """``(D,)``: multiply-accumulates of the extractors."""
    deciding: np.ndarray
    """``(D,)``: of deciding; with the extractors' where a device had to look at itself and does not adapt."""


def needed(batch: DeviceBatch, redraw: Redraw | None = None) -> Needed:
    """Extract path and latent interest from the recent interactions, and decide.

    A device without the budget for any network gets none, and by its request policy another may do without. ``redraw``
    replaces the controller's path by the one of an ablation.
    """
    part, (history, lengths) = batch.part, batch.history
    most = torch.tensor(
        [
            budget.blocks_to_fetch(batch.installed, batch.context, length, config.upload.latent_bits)
            for budget, length, config in zip(batch.budgets, lengths.tolist(), batch.configs, strict=True)
        ]
    )
    affordable = (most >= (0 if part.controller is not None else batch.blocks)).numpy()

    def other(paths: np.ndarray) -> np.ndarray:
        """Each device's path of the ablation."""
        assert redraw is not None
        return np.stack([redraw(*one) for one in zip(paths, batch.configs, strict=True)])

    wanted = inference.request(part, history, lengths, most, None if redraw is None else other)
    paths, latents = wanted.path.numpy(), wanted.latent.numpy()
    extracting = np.array([part.request_macs(length) for length in lengths.tolist()], dtype=np.int64)
    adapts, compares = np.ones(len(batch), dtype=bool), np.zeros(len(batch), dtype=bool)
    deciding = np.zeros(len(batch), dtype=np.int64)
    for row, policy in enumerate(batch.policies):
        if policy is not None:
            adapts[row] = decide(policy, batch.configs[row].session, latents[row])
            compares[row] = policy.config.compare and not adapts[row]
            sends = adapts[row] and affordable[row]
            deciding[row] = policy.decision_macs(batch.configs[row].session, 0 if sends else int(extracting[row]))
    return Needed(paths, latents, affordable & adapts, affordable & compares, extracting, deciding)


def ask(batch: DeviceBatch, redraw: Redraw | None = None) -> list[Message]:
    """Send path and latent interest of the devices that ask."""
    found = needed(batch, redraw)
    records: list[Records] = []
    for row, (extracting, deciding) in enumerate(zip(found.extracting.tolist(), found.deciding.tolist(), strict=True)):
        config, path = batch.configs[row], found.paths[row]
        given = config.upload.protected(found.latents[row], config.seed, config.device, config.session)
        if found.adapts[row]:
            records.append(pack_request(path, given, extracting + deciding, config.upload))
        elif found.compares[row]:
            records.append(pack_probe(path, given, deciding, config.upload))
        else:
            records.append(pack_decline(deciding))
    return batch.replies(records)
