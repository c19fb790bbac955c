"""A mis-recommendation detector: does the network a device has still fit what the device does now?

After IntellectReq (Lv et al. 2024). Two parts, both small enough for a device. *Uncertainty*: a conditional variational
model of the next item given the interest; what its prior samples disagree about is how uncertain the interest is.
*Verdict*: from the interest the network was made for (stale), the interest now (fresh) and the uncertainty, the
probability that the network still recommends right. In the released code the variance is taken across dimensions; here
it is across samples, as the paper describes it.
"""

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core import atomic, sealed
from core.errors import UserError
from models.backbones.base import DIM
from models.finite import not_finite
from models.kernels.softmax_loss import full_softmax_loss

FIX = "delete it and start the run's command again, which trains it again"
HALF = DIM // 2
SAMPLES = 10
"""Prior samples an uncertainty is estimated from."""


class _Gaussian(nn.Module):
    """Mean and log-variance of the latent variable, ``(B, 32)`` each, from ``(B, width)``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden, self.mean, self.spread = nn.Linear(width, HALF), nn.Linear(HALF, HALF), nn.Linear(HALF, HALF)

    def forward(self, given: Tensor) -> tuple[Tensor, Tensor]:
        hidden = torch.tanh(self.hidden(given))
        return self.mean(hidden), self.spread(hidden).clamp(-8.0, 4.0)


class Detector(nn.Module):
    """The detector; its noise is part of it, so that the same interests always get the same verdict."""

    noise: Tensor
    scale: Tensor

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.prior, self.posterior = _Gaussian(DIM), _Gaussian(2 * DIM)
        self.up, self.decoder = nn.Linear(HALF, DIM), nn.Linear(2 * DIM, DIM)
        self.change, self.verdict = nn.Linear(2 * DIM, 1), nn.Linear(2, 1)
        for weights in self.parameters():
            bound = 1 / math.sqrt(weights.shape[-1])
            weights.data = (2 * torch.rand(weights.shape, generator=generator) - 1) * bound
        self.register_buffer("noise", torch.randn(SAMPLES, HALF, generator=generator))
        self.register_buffer("scale", torch.tensor([0.0, 1.0]))

    def next_item_loss(self, interest: Tensor, items: Tensor, targets: Tensor, noise: Tensor) -> Tensor:
        """Cross-entropy of the next item plus the divergence of posterior and prior, of ``(B, 64)`` and ``(B,)``."""
        mean, spread = self.posterior(torch.cat([interest, F.embedding(targets, items)], dim=1))
        prior_mean, prior_spread = self.prior(interest)
        sample = self.up(mean + noise * torch.exp(spread / 2))
        states = self.decoder(torch.cat([sample, interest], dim=1))
        divergence = 0.5 * (prior_spread - spread + (spread.exp() + (mean - prior_mean) ** 2) / prior_spread.exp() - 1)
        return full_softmax_loss(states, items, targets) + divergence.sum(dim=1).mean()

    def uncertainty(self, interest: Tensor) -> Tensor:
        """Log of the mean variance across prior samples, ``(B,)`` for ``(B, 64)``."""
        mean, spread = self.prior(interest)
        samples = self.up(mean + self.noise.unsqueeze(1) * torch.exp(spread / 2))
        return samples.var(dim=0).mean(dim=1).clamp(min=1e-12).log()

    def forward(self, stale: Tensor, fresh: Tensor) -> Tensor:
        """Logit of the network made for ``stale`` being right for ``fresh``, ``(B,)``."""
        unsure = (self.uncertainty(fresh) - self.scale[0]) / self.scale[1]
        changed = torch.tanh(self.change(torch.cat([stale, fresh], dim=1))).squeeze(1)
        logit: Tensor = self.verdict(torch.stack([changed, unsure], dim=1)).squeeze(1)
        return logit

    @torch.inference_mode()
    def doubt(self, stale: Tensor, fresh: Tensor) -> Tensor:
        """Probability that it is wrong, ``(B,)``."""
        return torch.sigmoid(-self(stale, fresh))

    @property
    def bits(self) -> int:
        """Of what gives verdicts on a device, 32 for each number: posterior and decoder are for the training."""
        used = (self.prior, self.up, self.change, self.verdict)
        numbers = sum(weights.numel() for module in used for weights in module.parameters())
        return 32 * (numbers + self.noise.numel() + self.scale.numel())

    @staticmethod
    def macs() -> int:
        """Multiply-accumulates of one verdict."""
        return DIM * HALF + 2 * HALF * HALF + SAMPLES * HALF * DIM + 2 * DIM + 2


def save_detector(path: Path, detector: Detector, **facts: str) -> None:
    """Write the detector and the facts (whose it is), whole or not at all. Raises :class:`UserError` if a weight is not
    finite."""
    if (wrong := not_finite(detector.state_dict())) is not None:
        raise UserError(f"{path.name} is not written: {wrong} holds numbers that are not finite; train it again")
    arrays = {name: value.contiguous().numpy() for name, value in detector.state_dict().items()}
    atomic.write(path, sealed.pack_tensors(arrays, {"kind": "detector", **facts}))


def load_detector(path: Path, **facts: str) -> Detector:
    """Read what :func:`save_detector` wrote; raises :class:`core.errors.Damaged` if it is not that, or another one."""
    found, arrays = sealed.read_tensors(path, FIX)
    sealed.expect(path, found, {"kind": "detector", **facts}, FIX)
    detector = Detector(torch.Generator())
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    if (wrong := not_finite(tensors)) is not None:
        raise sealed.damaged(path, f"{wrong} holds a number that is not finite", FIX)
    detector.load_state_dict(tensors)
    return detector.eval().requires_grad_(False)
