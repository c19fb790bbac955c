"""Which weights are numbers: a network with a NaN or an infinite weight ranks nothing."""

from collections.abc import Mapping

from torch import Tensor


def not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of the first tensor that holds a NaN or an infinite number; None if all numbers are finite."""
    return next(
        (name for name, value in tensors.items() if value.is_floating_point() and not value.isfinite().all()), None
    )
