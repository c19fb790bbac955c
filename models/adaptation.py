"""Structure controller and structural mapper: equations 2 to 12 of the Forward-OFA paper.

On the device: GRU ``E`` and layer ``H`` give one keep-logit a block (the path), GRU ``E'``, started from those logits,
gives the latent interest of 64 floats. In the cloud: one head ``H'_k`` a block turns the latent interest into that
block's weights. Nothing else connects them.
"""

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.backbones.base import DIM, Backbone, Layers
from models.kernels.gru import last_state
from models.kernels.precision import product_type
from models.lowrank import LowRankMapper
from models.shared.plain import Network

HEAD_SCALE = 0.1 / DIM
"""Standard deviation of a fresh head's matrix."""

Structure = Literal["logits", "path", "none"]
"""What the extractor of the latent interest starts from: the controller's logits (equation 9), the path that will
really run, or nothing."""


class Extractor(nn.Module):
    """A GRU over item embeddings; its state after the last real item is the summary of a sequence.

    64 * 3 * (64 + 64) + 2 * 192 = 24,960 weights. Sequences are *right*-padded, so that the first step really starts
    from the given state and padding changes nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(DIM, DIM, batch_first=True)

    def forward(self, embedded: Tensor, lengths: Tensor, start: Tensor | None = None) -> Tensor:
        """``embedded`` ``(D, m, d)``, ``lengths`` ``(D,)`` from 1 to m, ``start`` ``(D, d)`` or zeros: ``(D, d)``."""
        if torch.is_grad_enabled() and embedded.device.type == "cpu":
            zero = embedded.new_zeros(len(embedded), DIM)
            precision = product_type(embedded.device) if self.training else None
            return last_state(self.gru, embedded, lengths, zero if start is None else start, precision)
        states, _ = self.gru(embedded, None if start is None else start.unsqueeze(0))
        return states[torch.arange(len(lengths), device=lengths.device), lengths - 1]


class Controller(nn.Module):
    """GRU ``E`` and linear layer ``H``: from recent items to one keep-logit a block (equation 7).

    The paper's softmax over {execute, skip} has two logits a block of which only the difference matters; its parameter
    count (Table 5: 50,310) leaves room for one, so ``H`` gives ``delta = beta_0 - beta_1`` with ``beta_1 = 0``.
    """

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.extractor = Extractor()
        self.head = nn.Linear(DIM, blocks)

    def forward(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        """Keep-logits ``(D, L)``; a block is executed where its logit is at least 0 (equation 3)."""
        logits: Tensor = self.head(self.extractor(embedded, lengths))
        return logits


def chosen_path(logits: Tensor, most: Tensor | None = None) -> Tensor:
    """The path ``(D, L)`` bool of devices with these keep-logits: blocks with a logit of at least 0 (equation 3).

    Where there is room for ``most`` ``(D,)`` blocks only, those of them with the highest logits.
    """
    path = logits >= 0
    if most is not None:
        place = logits.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        path &= place < most.unsqueeze(1)
    return path


def logistic(logits: Tensor, generator: torch.Generator) -> Tensor:
    """Logistic noise in the shape of ``logits``: the difference of two Gumbel variables."""
    uniform = torch.rand(logits.shape, generator=generator).to(logits.device).clamp(1e-7, 1 - 1e-7)
    return torch.log(uniform) - torch.log1p(-uniform)


def sample_gates(logits: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """Straight-through Gumbel-softmax gates ``(D, L)`` (equations 4 and 5).

    Forward: 1 where the perturbed execute-logit wins, else 0. Backward: the gradient of the relaxed probability at this
    temperature. The difference of two Gumbel variables is one logistic variable, so one uniform draw a gate is enough.
    """
    noisy = logits + logistic(logits, generator)
    soft = torch.sigmoid(noisy / temperature)
    return (noisy >= 0).to(soft.dtype) + (soft - soft.detach())


def compact_constraint(logits: Tensor) -> Tensor:
    """``L_c``: minus the log-probability of skipping, summed over blocks, mean over devices (equations 10 and 11)."""
    return F.softplus(logits).sum(dim=1).mean()


class _Deviations(torch.autograd.Function):
    """``latent @ head``, column range by column range, in the precision of fast products: most of training.

    The parts stay in that precision, forwards and backwards, so that no pass over all generated weights is left but
    the products themselves.
    """

    @staticmethod
    def forward(ctx: Any, latent: Tensor, head: Tensor, sizes: list[int]) -> tuple[Tensor, ...]:
        precision = product_type(latent.device)
        latent, head = latent.to(precision), head.to(precision)
        ctx.save_for_backward(latent, head)
        ctx.sizes = sizes
        return tuple(latent @ part for part in head.split(sizes, dim=1))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        latent, head = ctx.saved_tensors
        d_head = torch.empty(head.shape, dtype=torch.float32, device=head.device)
        d_latent = torch.zeros(latent.shape, dtype=torch.float32, device=latent.device)
        for grad, part, mine in zip(grads, head.split(ctx.sizes, dim=1), d_head.split(ctx.sizes, dim=1), strict=True):
            mine.copy_(latent.T @ grad)
            d_latent += grad @ part.T
        return d_latent, d_head, None


class _Deviating(torch.autograd.Function):
    """``x (W + D) + b + c``: a linear layer that all devices share, and each device's own deviation from it.

    ``x`` ``(D, m, in)``, ``W`` ``(in, out)``, ``b`` ``(out,)``; ``D`` ``(D, in * out)`` and ``c`` ``(D, out)`` are in
    the precision of :class:`_Deviations`.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, base: Tensor, bias: Tensor, change: Tensor, shift: Tensor) -> Tensor:
        change, short = change.view(len(x), *base.shape), x.to(change.dtype)
        ctx.save_for_backward(short, base, change)
        out = torch.addmm(bias, x.flatten(0, 1), base).view(*x.shape[:2], -1)
        return out.add_(torch.baddbmm(shift.unsqueeze(1), short, change))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        short, base, change = ctx.saved_tensors
        grad = grads[0].to(short.dtype)
        d_x = (grads[0].flatten(0, 1) @ base.T).view(*short.shape)
        d_x += grad @ change.transpose(1, 2)
        d_base = (short.flatten(0, 1).T @ grad.flatten(0, 1)).to(base.dtype)
        d_shift = grads[0].sum(1)
        return d_x, d_base, d_shift.sum(0), (short.transpose(1, 2) @ grad).flatten(1), d_shift.to(short.dtype)


class Mapper(nn.Module):
    """The heads ``H'_k``, one a block: latent interest ``(D, 64)`` to block weights ``(D, block_size)`` (equation 8).

    The bias of a head is one ordinary set of block weights, and its matrix starts small: training begins with every
    device close to one shared network and learns how to deviate from it. The latent interest is divided by the root of
    its width, which changes no function a head can be, but makes one step of Adam move a generated weight about as far
    as it would move a plain one.
    """

    kind = "full-rank"
    """Names the class in a model's file."""

    def __init__(self, backbone: Backbone, generator: torch.Generator) -> None:
        super().__init__()
        self.sizes = backbone.sizes
        self.unpack = backbone.unpack
        # One parameter a block, not one for all: the gradient of a slice would be a tensor as large as the whole.
        self.base = nn.ParameterList(backbone.initial_blocks(generator))
        self.heads = nn.ParameterList(
            torch.randn(DIM, backbone.block_size, generator=generator) * HEAD_SCALE for _ in range(backbone.blocks)
        )

    def block(self, k: int, latent: Tensor) -> Tensor:
        """Weights of block ``k`` for each device, ``(D, block_size)``."""
        return torch.addmm(self.base[k], latent / math.sqrt(DIM), self.heads[k])

    def applied(self, k: int, latent: Tensor) -> Tensor | Layers:
        """Block ``k`` as training runs it: the shared network and the deviations of :meth:`block` apart."""
        if not self.training:
            return self.block(k, latent)
        parts: tuple[Tensor, ...] = _Deviations.apply(latent / math.sqrt(DIM), self.heads[k], self.sizes)
        shared = self.unpack(self.base[k].unsqueeze(0))

        def apply(layer: int, x: Tensor) -> Tensor:
            (matrix, bias), (change, shift) = shared[layer], parts[2 * layer : 2 * layer + 2]
            out: Tensor = _Deviating.apply(x.flatten(1, 2), matrix[0], bias[0], change, shift)
            return out.view(*x.shape[:-1], -1)

        return apply

    def macs(self, blocks_generated: int) -> int:
        """Multiply-accumulates in the cloud for one device."""
        return blocks_generated * self.heads[0].numel()


AnyMapper = Mapper | LowRankMapper
"""What may stand in the cloud."""


class DevicePart(nn.Module):
    """What is installed on every device: the shared backbone, and for adaptive methods the extractors.

    ``popularity`` ``(num_items + 1,)`` is the rank of every item by training popularity (1 is the most popular), what a
    device falls back to when it has no network it can run.
    """

    popularity: Tensor

    def __init__(
        self, backbone: Backbone, *, controller: bool, interest: bool, structure: Structure = "logits"
    ) -> None:
        super().__init__()
        self.backbone, self.structure = backbone, structure
        self.controller = Controller(backbone.blocks) if controller else None
        self.interest = Extractor() if interest else None
        self.register_buffer("popularity", torch.zeros(backbone.num_items + 1, dtype=torch.int32))

    def embed_history(self, history: Tensor) -> Tensor:
        """Right-padded item ids ``(D, m)`` to what the extractors read, ``(D, m, d)``: normalised embeddings.

        Embeddings start small; a GRU that reads them as they are learns nothing for the first epochs.
        """
        return F.layer_norm(F.embedding(history, self.backbone.items), (DIM,), eps=1e-12)

    def request_macs(self, items: int) -> int:
        """Multiply-accumulates of the extractors over ``items`` items: 3 gates of two 64 x 64 products, and ``H``."""
        step = 6 * DIM * DIM
        controller = 0 if self.controller is None else items * step + DIM * self.backbone.blocks
        return controller + (0 if self.interest is None else items * step)

    def paper_request_macs(self, items: int) -> int:
        """The paper's count (Table 5): with 5 items 254,464 for 6 blocks, 254,848 for 12.

        Beside the products of a GRU step it counts the gates: 832 more, 13 operations for each of the 64 numbers of the
        state.
        """
        step = 6 * DIM * DIM + 13 * DIM
        extractors = (self.controller is not None) + (self.interest is not None)
        head = 0 if self.controller is None else DIM * self.backbone.blocks
        return extractors * items * step + head

    def latent(self, embedded: Tensor, lengths: Tensor, logits: Tensor | None, path: Tensor | None = None) -> Tensor:
        """Latent interest ``(D, 64)`` of devices with structure ``logits`` and ``path`` ``(D, L)``, both zero-padded.

        ``E'`` starts from one of them (equation 9), see :data:`Structure`. A block is 1 if it runs and -1 if not.
        """
        assert self.interest is not None
        start = None
        if self.structure == "logits" and logits is not None:
            start = logits
        elif self.structure == "path" and path is not None:
            start = 2 * path.to(embedded.dtype) - 1
        state: Tensor = self.interest(
            embedded, lengths, None if start is None else F.pad(start, (0, DIM - start.shape[1]))
        )
        return state


class StaticModel(nn.Module):
    """One network for everybody, all of its blocks or (with a controller) a path that each device chooses."""

    def __init__(
        self,
        backbone: Backbone,
        generator: torch.Generator,
        *,
        controller: bool = False,
        network: type[Network] = Network,
    ) -> None:
        super().__init__()
        self.device_part = DevicePart(backbone, controller=controller, interest=False)
        self.network = network(backbone, generator)

    def block(self, k: int, rows: Tensor | None = None) -> Tensor:
        """Weights of block ``k``, ``(1, block_size)``, the same for all devices."""
        return self.network[k]


class AdaptiveModel(nn.Module):
    """A network for each device: extractors on the device, mapper in the cloud; with or without a controller."""

    def __init__(
        self,
        backbone: Backbone,
        generator: torch.Generator,
        *,
        controller: bool,
        structure: Structure = "logits",
        mapper: type[AnyMapper] = Mapper,
    ) -> None:
        super().__init__()
        self.device_part = DevicePart(backbone, controller=controller, interest=True, structure=structure)
        self.mapper = mapper(backbone, generator)
