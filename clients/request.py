"""Step 1 of a session: what a device asks of the cloud, and whether it asks."""

import numpy as np
import torch
from flwr.app import Message

from clients import inference
from clients.ablations import Redraw
from clients.decision import decide
from clients.device_batch import Group, Records
from clients.messages import pack_decline, pack_probe, pack_request


def ask(group: Group, redraw: Redraw | None = None) -> list[Message]:
    """Extract path and latent interest from the recent interactions, and send them.

    A device without the budget for any network asks for nothing, and by its request policy another may do without.
    ``redraw`` replaces the controller's path by the one of an ablation.
    """
    part, (history, lengths) = group.part, group.history
    most = torch.tensor(
        [
            budget.blocks_to_fetch(part, group.context, length)
            for budget, length in zip(group.budgets, lengths.tolist(), strict=True)
        ]
    )
    affordable = most >= (0 if part.controller is not None else group.blocks)

    def other(paths: np.ndarray) -> np.ndarray:
        """Each device's path of the ablation."""
        assert redraw is not None
        return np.stack([redraw(*one) for one in zip(paths, group.orders, group.devices, strict=True)])

    wanted = inference.request(part, history, lengths, most, None if redraw is None else other)
    paths, latents = wanted.path.numpy(), wanted.latent.numpy()
    records: list[Records] = []
    for row, rules in enumerate(group.rules):
        macs = part.request_macs(int(lengths[row]))
        asks = rules is None or decide(rules, group.devices[row], group.orders[row].session, latents[row])
        deciding = 0 if rules is None else rules.decision_macs(0 if asks else macs)
        answer: Records = pack_decline(deciding)
        if affordable[row] and asks:
            answer = pack_request(paths[row], latents[row], macs + deciding)
        elif affordable[row] and rules is not None and rules.compare:
            answer = pack_probe(paths[row], latents[row], deciding)
        records.append(answer)
    return group.replies(records)
