"""Training the mis-recommendation detector in the cloud, from trial sessions on the devices' histories."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from core.errors import UserError
from core.seeds import derive, torch_generator
from models.misrecommendation import HALF, Detector

EPOCHS, BATCH, LEARNING_RATE = 20, 256, 1e-3
"""Of the uncertainty."""
STEPS, VERDICT_RATE = 300, 1e-2
"""Of the verdict, on all samples at once: it has 132 weights."""


@dataclass(frozen=True)
class Samples:
    """P trial sessions, each played with the network of an earlier one of the same device."""

    stale: Tensor
    """``(P, 64)``: the interest that network was made for."""
    fresh: Tensor
    """``(P, 64)``: the interest when the session begins."""
    following: Tensor
    """``(P,)``: the item the device interacts with next."""
    right: Tensor
    """``(P,)``: share of the session's events that the network ranked among its first 10."""


def train_detector(samples: Samples, items: Tensor, seed: int) -> Detector:
    """Train uncertainty, then verdict; ``items`` is the embedding table ``(num_items + 1, 64)``.

    Raises :class:`UserError` with the first loss that is not finite.
    """
    detector = Detector(torch_generator(seed, "detector", "weights"))
    verdict = [*detector.change.parameters(), *detector.verdict.parameters()]
    chosen = {id(weights) for weights in verdict}
    others = [weights for weights in detector.parameters() if id(weights) not in chosen]
    with torch.enable_grad():
        _train_uncertainty(detector, others, samples, items, seed)
        detector.requires_grad_(False)
        unsure = detector.uncertainty(samples.fresh)
        detector.scale.copy_(torch.stack([unsure.mean(), unsure.std(correction=0).clamp(min=1e-6)]))
        for weights in verdict:
            weights.requires_grad_(True)
        optimizer = torch.optim.Adam(verdict, lr=VERDICT_RATE)
        for step in range(STEPS):
            loss = F.binary_cross_entropy_with_logits(detector(samples.stale, samples.fresh), samples.right)
            _require_finite(loss, f"step {step + 1} of its verdict", VERDICT_RATE)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
    return detector.eval().requires_grad_(False)


def _train_uncertainty(
    detector: Detector, weights: list[torch.nn.Parameter], samples: Samples, items: Tensor, seed: int
) -> None:
    optimizer = torch.optim.Adam(weights, lr=LEARNING_RATE)
    for epoch in range(EPOCHS):
        generator = torch.Generator().manual_seed(derive(seed, "detector", epoch))
        for pick in torch.randperm(len(samples.fresh), generator=generator).split(BATCH):
            noise = torch.randn(len(pick), HALF, generator=generator)
            loss = detector.next_item_loss(samples.fresh[pick], items, samples.following[pick], noise)
            _require_finite(loss, f"epoch {epoch + 1} of its uncertainty", LEARNING_RATE)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()


def _require_finite(loss: Tensor, where: str, rate: float) -> None:
    if not loss.isfinite():
        raise UserError(
            f"--policy mrd: training the mis-recommendation detector diverged in {where}: a loss of {loss.item():g} at "
            f"a learning rate of {rate:g}; the interests of the cloud model may be too large: train that with a lower "
            "--learning-rate, or choose another --policy"
        )
