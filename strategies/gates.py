"""How a controller's logits become a path in training and in use, for every method that has one."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from models.device_part import chosen_path, compact_constraint, sample_gates
from strategies.training.learner import Recipe


@dataclass(frozen=True)
class Gating:
    """What to run of each window's network; the defaults are all of it."""

    gates: Tensor | None = None
    """``(B, L)``, differentiable: in training."""
    keep: Tensor | None = None
    """``(B, L)`` bool: in use."""
    penalty: Tensor = field(default_factory=lambda: torch.zeros(()))
    """Compact constraint, weighted as in equation 12."""


def gate(logits: Tensor | None, recipe: Recipe, generator: torch.Generator | None) -> Gating:
    """Gates drawn with ``generator`` from ``logits`` ``(B, L)``; without one the decided path; all without logits."""
    if logits is None:
        return Gating()
    if generator is None:
        return Gating(keep=chosen_path(logits))
    gates = sample_gates(logits, recipe.temperature, generator)
    return Gating(gates, penalty=recipe.penalty * compact_constraint(logits))
