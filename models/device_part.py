"""What every device holds: the shared backbone, the structure controller and the extractor of the latent interest.

Equations 2 to 7 and 9 to 12 of the Forward-OFA paper. GRU ``E`` and layer ``H`` give one keep-logit a block (the path);
GRU ``E'``, started from those logits, gives the latent interest of 64 floats. The cloud turns both into the device's
network (:mod:`models.hypernetwork`); nothing else connects them.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.arithmetic import SINGLE, Arithmetic
from models.backbones.base import DIM, Backbone
from models.kernels import gru
from models.kernels.precision import product_type

Structure = Literal["logits", "path", "none"]
"""What the extractor of the latent interest starts from: the controller's logits (equation 9), the path that will
really run, or nothing."""


class Extractor(nn.Module):
    """A GRU over item embeddings; its state after the last real item is the summary of a sequence.

    64 * 3 * (64 + 64) + 2 * 192 = 24,960 weights. Sequences are *right*-padded, so that the first step really starts
    from the given state and padding changes nothing.
    """

    arithmetic: Arithmetic = SINGLE
    """In which precision a device multiplies, as its backbone's."""

    def __init__(self, *, pairs: bool = False) -> None:
        """With ``pairs`` the GRU reads of each item also its product, number by number, with a linear map of the item
        before it.

        What a user goes on to after an item is a relation of two embeddings. A GRU adds what it reads and has to learn
        a product from its gates; ``64 x 64 + 128 x 64 + 64`` weights more spare it that. Without the map the product
        would be the same in both directions.
        """
        super().__init__()
        self.gru = nn.GRU(DIM, DIM, batch_first=True)
        self.turn = nn.Linear(DIM, DIM, bias=False) if pairs else None
        self.pair = nn.Linear(2 * DIM, DIM) if pairs else None
        if self.pair is not None:
            with torch.no_grad():
                self.pair.weight[:, :DIM] = torch.eye(DIM)

    def forward(self, embedded: Tensor, lengths: Tensor, start: Tensor | None = None) -> Tensor:
        """``embedded`` ``(D, m, d)``, ``lengths`` ``(D,)`` from 1 to m, ``start`` ``(D, d)`` or zeros: ``(D, d)``.

        ``start`` may also be of ``(2 D, d)``, so that each sequence is read from two states: ``(2 D, d)``.
        """
        if self.arithmetic is not SINGLE:
            copies = 1 if start is None else len(start) // len(embedded)
            return self._step_by_step(self._joined(embedded).repeat(copies, 1, 1), lengths.repeat(copies), start)
        return self.read(embedded, lengths, start)[0]

    def read(self, embedded: Tensor, lengths: Tensor, start: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The same in single precision, and the state after each item ``(D, longest, d)``, or ``(2 D, longest, d)``."""
        embedded = self._joined(embedded)
        copies = 1 if start is None else len(start) // len(embedded)
        lengths = lengths.repeat(copies)
        if torch.is_grad_enabled() and embedded.device.type == "cpu":
            zero = embedded.new_zeros(len(embedded), DIM)
            precision = product_type(embedded.device) if self.training else None
            return gru.states(self.gru, embedded, lengths, zero if start is None else start, precision)
        states, _ = self.gru(embedded.repeat(copies, 1, 1), None if start is None else start.unsqueeze(0))
        return states[torch.arange(len(lengths), device=lengths.device), lengths - 1], states

    def _joined(self, embedded: Tensor) -> Tensor:
        """What the GRU reads: each item with the one before it, if it reads pairs."""
        if self.pair is None or self.turn is None:
            return embedded
        before = F.pad(self._linear(self.turn, embedded[:, :-1]), (0, 0, 1, 0))
        return self._linear(self.pair, torch.cat([embedded, before * embedded], dim=2))

    def _linear(self, layer: nn.Linear, read: Tensor) -> Tensor:
        """A linear layer in :attr:`arithmetic`."""
        exact: Tensor = (
            layer(read) if self.arithmetic is SINGLE else self.arithmetic.product(read, layer.weight.T, layer.bias)
        )
        return exact

    def _step_by_step(self, embedded: Tensor, lengths: Tensor, start: Tensor | None) -> Tensor:
        """The same with the products in :attr:`arithmetic`."""
        product, own = self.arithmetic.product, dict(self.gru.named_parameters())
        state = embedded.new_zeros(len(embedded), DIM) if start is None else start
        given = product(embedded, own["weight_ih_l0"].T, own["bias_ih_l0"])
        for t in range(int(lengths.max())):
            known = product(state, own["weight_hh_l0"].T, own["bias_hh_l0"])
            (reset, keep, new), (r, z, n) = given[:, t].chunk(3, 1), known.chunk(3, 1)
            keep = torch.sigmoid(keep + z)
            after = (1 - keep) * torch.tanh(new + torch.sigmoid(reset + r) * n) + keep * state
            state = torch.where((t < lengths).unsqueeze(1), after, state)
        return state


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
        state, head = self.extractor(embedded, lengths), self.head
        if self.extractor.arithmetic is not SINGLE:
            return self.extractor.arithmetic.product(state, head.weight.T, head.bias)
        logits: Tensor = head(state)
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


class DevicePart(nn.Module):
    """What is installed on every device: the shared backbone, and for adaptive methods the extractors.

    ``popularity`` ``(num_items + 1,)`` is the rank of every item by training popularity (1 is the most popular), what a
    device falls back to when it has no network it can run.
    """

    popularity: Tensor

    def __init__(
        self,
        backbone: Backbone,
        *,
        controller: bool,
        interest: bool,
        structure: Structure = "logits",
        pairs: bool = False,
    ) -> None:
        """``pairs`` is how the extractor of the latent interest reads, see :class:`Extractor`."""
        super().__init__()
        self.backbone, self.structure = backbone, structure
        self.controller = Controller(backbone.blocks) if controller else None
        self.interest = Extractor(pairs=pairs) if interest else None
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
        if self.interest is None:
            return controller
        return controller + items * (step + (0 if self.interest.pair is None else 3 * DIM * DIM))

    def paper_request_macs(self, items: int) -> int:
        """The paper's count (Table 5): with 5 items 254,464 for 6 blocks, 254,848 for 12.

        Beside the products of a GRU step it counts the gates: 832 more, 13 operations for each of the 64 numbers of the
        state.
        """
        step = 6 * DIM * DIM + 13 * DIM
        extractors = (self.controller is not None) + (self.interest is not None)
        head = 0 if self.controller is None else DIM * self.backbone.blocks
        return extractors * items * step + head

    def latent_bound(self) -> float:
        """No number of a latent interest is larger: a GRU's state stays within [-1, 1] or where it began."""
        if self.controller is None or self.structure != "logits":
            return 1.0
        head = self.controller.head
        return max(1.0, float((head.weight.abs().sum(dim=1) + head.bias.abs()).max()))

    def latent_on_path(self, history: Tensor, lengths: Tensor, path: Tensor) -> Tensor:
        """Latent interest ``(D, 64)`` of devices with recent items ``(D, m)`` that will run ``path`` ``(D, L)``.

        A part without a controller always runs all blocks, and its latent interest knows of none.
        """
        embedded = self.embed_history(history)
        if self.controller is None:
            return self.latent(embedded, lengths, None)
        return self.latent(embedded, lengths, self.controller(embedded, lengths), path)

    def latent(self, embedded: Tensor, lengths: Tensor, logits: Tensor | None, path: Tensor | None = None) -> Tensor:
        """Latent interest ``(D, 64)`` of devices with structure ``logits`` and ``path`` ``(D, L)``, both zero-padded.

        ``E'`` starts from one of them (equation 9), see :data:`Structure`; with two paths of each device, ``(2 D, L)``,
        it reads each history twice and gives ``(2 D, 64)``. A block is 1 if it runs and -1 if not.
        """
        assert self.interest is not None
        state: Tensor = self.interest(embedded, lengths, self._start(embedded, logits, path))
        return state

    def read(
        self, embedded: Tensor, lengths: Tensor, logits: Tensor | None, path: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The same, in single precision, and what the latent interest was after each item, ``(D, longest, 64)`` or
        ``(2 D, longest, 64)``; after the last it stays."""
        assert self.interest is not None
        return self.interest.read(embedded, lengths, self._start(embedded, logits, path))

    def _start(self, embedded: Tensor, logits: Tensor | None, path: Tensor | None) -> Tensor | None:
        """What the extractor of the latent interest starts from."""
        if self.structure == "logits" and logits is not None:
            return F.pad(logits, (0, DIM - logits.shape[1]))
        if self.structure == "path" and path is not None:
            return F.pad(2 * path.to(embedded.dtype) - 1, (0, DIM - path.shape[1]))
        return None
