"""Step 1 of a session: what a device asks of the cloud, and whether it asks."""

import numpy as np
import torch
from flwr.app import Message

from clients import inference
from clients.ablations import Redraw
from clients.decision import decide
from clients.device_batch import DeviceBatch, Records
from clients.messages import pack_decline, pack_probe, pack_request


def ask(batch: DeviceBatch, redraw: Redraw | None = None) -> list[Message]:
    """Extract path and latent interest from the recent interactions, and send them.

    A device without the budget for any network asks for nothing, and by its request policy another may do without.
    ``redraw`` replaces the controller's path by the one of an ablation.
    """
    part, (history, lengths) = batch.part, batch.history
    most = torch.tensor(
        [
            budget.blocks_to_fetch(batch.installed, batch.context, length, config.upload.latent_bits)
            for budget, length, config in zip(batch.budgets, lengths.tolist(), batch.configs, strict=True)
        ]
    )
    affordable = most >= (0 if part.controller is not None else batch.blocks)

    def other(paths: np.ndarray) -> np.ndarray:
        """Each device's path of the ablation."""
        assert redraw is not None
        return np.stack([redraw(*one) for one in zip(paths, batch.configs, strict=True)])

    wanted = inference.request(part, history, lengths, most, None if redraw is None else other)
    paths, latents = wanted.path.numpy(), wanted.latent.numpy()
    records: list[Records] = []
    for row, policy in enumerate(batch.policies):
        config, macs = batch.configs[row], part.request_macs(int(lengths[row]))
        form = config.upload
        asks = policy is None or decide(policy, config.session, latents[row])
        deciding = 0 if policy is None else policy.config.decision_macs(0 if asks else macs)
        answer: Records = pack_decline(deciding)
        given = form.protected(latents[row], config.seed, config.device, config.session)
        if affordable[row] and asks:
            answer = pack_request(paths[row], given, macs + deciding, form)
        elif affordable[row] and policy is not None and policy.config.compare:
            answer = pack_probe(paths[row], given, deciding, form)
        records.append(answer)
    return batch.replies(records)
