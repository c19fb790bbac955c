"""A device's own network in 8-bit integers as one module, as it is exported: its file holds integers, and so do its
products.

What it computes is what :class:`models.arithmetic.Integer` computes with the same network; only the whole numbers are
made once, and multiplied by an operator of their own, which an exporter can write as a product of integers.
"""

import copy
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.arithmetic import Integer, computed_in, quantise
from models.backbones.base import Backbone, Layers
from models.standalone import Standalone

if TYPE_CHECKING:
    _Base = Backbone
else:
    _Base = object


@torch.library.custom_op("forward_ofa::integer_product", mutates_args=())
def integer_product(rows: Tensor, columns: Tensor) -> Tensor:
    """Whole numbers in single precision times whole numbers of any type."""
    return rows @ columns.to(rows.dtype)


@integer_product.register_fake
def _(rows: Tensor, columns: Tensor) -> Tensor:
    return rows @ columns.to(rows.dtype)


class Exported(Integer):
    """The same arithmetic through that operator."""

    def exact(self, rows: Tensor, columns: Tensor) -> Tensor:
        found: Tensor = integer_product(rows, columns)
        return found


class _IntegerItems(_Base):
    """A backbone that stores its items as integers and scales."""

    item_values: Tensor
    item_scales: Tensor

    def embedded(self, items: Tensor) -> Tensor:
        return F.embedding(items, self.item_values).to(torch.float32) * F.embedding(items, self.item_scales)

    def score(self, states: Tensor) -> Tensor:
        arithmetic = self.arithmetic
        assert isinstance(arithmetic, Exported)
        return arithmetic.scaled_product(states, self.item_values[1:].T, self.item_scales[1:].T)


class IntegerStandalone(nn.Module):
    """From the most recent items ``(1, context)``, left-padded with 0, to scores ``(1, num_items)``."""

    def __init__(self, whole: Standalone) -> None:
        super().__init__()
        self.path = whole.path
        backbone, arithmetic = copy.deepcopy(whole.backbone), Exported()
        values, scales = quantise(backbone.items.detach(), 1)
        del backbone.items
        self.backbone = computed_in(backbone, arithmetic)
        self.backbone.__class__ = type(f"Integer{type(backbone).__name__}", (_IntegerItems, type(backbone)), {})
        self.backbone.register_buffer("item_values", values.to(torch.int8))
        self.backbone.register_buffer("item_scales", scales)
        for k in self.path:
            for j, (matrix, bias) in enumerate(backbone.unpack(getattr(whole, f"block{k}"))):
                values, scales = quantise(matrix[0], 0)
                self.register_buffer(f"values{k}_{j}", values.to(torch.int8))
                self.register_buffer(f"scales{k}_{j}", scales)
                self.register_buffer(f"bias{k}_{j}", bias.clone())
        self.eval().requires_grad_(False)

    def forward(self, windows: Tensor) -> Tensor:
        """Score all items."""
        backbone, windows = self.backbone, windows.unsqueeze(0)
        x, real = backbone.embed(windows)
        for k in self.path:
            x = backbone.run_block(k, x, self._layers(k)) * real
        return backbone.score(backbone.finish(x, windows)[:, :, -1])[0]

    def _layers(self, k: int) -> Layers:
        arithmetic = self.backbone.arithmetic
        assert isinstance(arithmetic, Exported)

        def apply(layer: int, x: Tensor) -> Tensor:
            values, scales, bias = (getattr(self, f"{name}{k}_{layer}") for name in ("values", "scales", "bias"))
            return arithmetic.scaled_product(x, values, scales) + bias

        return apply
