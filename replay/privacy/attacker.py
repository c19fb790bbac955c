"""An attacker that names a device's secret items: a network from requests to one score an item.

It reads what the extractors make of the known history, and of the requests nothing (``history``), the present one
(``upload``) or all so far, by a GRU (``uploads``). From its state it scores every item four times: for the last 1, 10
and 50 live interactions, and for the next one. Each score is a product with a learnt embedding, plus the logarithm of
the item's share of the co-occurrence scores after the known history times a learnt weight: the attacker begins with
what counts tell and learns what requests add. The loss is the softmax cross-entropy with the secret items as equally
likely targets, the sum over the four; items of the known history have no score.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.seeds import derive, numpy_generator
from replay.privacy.knowledge import Observed

Reads = Literal["history", "upload", "uploads"]
READS: tuple[Reads, ...] = get_args(Reads)
LAST = (1, 10, 50)
"""The lengths of the lists of latest items; the fourth head is for the next one."""
WIDTH, EMBEDDING, DROPOUT = 128, 64, 0.2
RATE, BATCH, EPOCHS, PATIENCE = 3e-3, 24, 8, 1
"""Of Adam; users in a batch; most epochs; epochs without a lower loss on the users held out."""
HELD_OUT = 0.1
"""Share of the users whose requests choose the epoch."""
CHUNK = 512


class Attacker(nn.Module):
    """Scores of items from requests; see the module."""

    def __init__(self, reads: Reads, features: int, num_items: int) -> None:
        super().__init__()
        self.reads = reads
        self.inner = nn.GRU(features, WIDTH, batch_first=True) if reads == "uploads" else None
        inputs = {"history": 1, "upload": 2, "uploads": 3}[reads] * features + 1
        self.state = nn.Sequential(
            nn.Linear(inputs + WIDTH * (reads == "uploads"), 2 * WIDTH), nn.GELU(), nn.Dropout(DROPOUT),
            nn.Linear(2 * WIDTH, 2 * WIDTH), nn.GELU(), nn.Dropout(DROPOUT),
        )  # fmt: skip
        self.direct = nn.Linear(inputs + WIDTH * (reads == "uploads"), 2 * WIDTH, bias=False)
        heads = len(LAST) + 1
        self.heads = nn.Linear(2 * WIDTH, heads * EMBEDDING)
        self.items = nn.Parameter(torch.randn(num_items, EMBEDDING) / EMBEDDING)
        self.bias = nn.Parameter(torch.zeros(heads, num_items))
        self.trust = nn.Parameter(torch.full((heads,), 0.5))
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))

    mean: Tensor
    deviation: Tensor

    def encode(self, known: Tensor, codes: Tensor) -> Tensor:
        """States ``(B, S, 256)`` of users with ``known`` ``(B, F)`` and requests ``(B, S, F)``, in order."""
        known, codes = ((x - self.mean) / self.deviation for x in (known, codes))
        steps = torch.log1p(torch.arange(codes.shape[1], dtype=codes.dtype)).expand(len(codes), -1).unsqueeze(2)
        parts = [known.unsqueeze(1).expand(-1, codes.shape[1], -1), steps]
        if self.reads != "history":
            parts.append(codes)
        if self.inner is not None:
            before = torch.cat([known.unsqueeze(1), codes[:, :-1]], dim=1)
            parts += [codes - before, self.inner(codes)[0]]
        joined = torch.cat(parts, dim=2)
        out: Tensor = self.state(joined) + self.direct(joined)
        return out

    def scores(self, states: Tensor, prior: Tensor, seen: Tensor) -> Tensor:
        """Scores ``(N, 4, I)`` from states ``(N, 256)``, ``prior`` and ``seen`` ``(N, I)``."""
        wanted = self.heads(states).view(len(states), -1, EMBEDDING)
        found = wanted @ self.items.T + self.bias + self.trust[:, None] * prior.unsqueeze(1)
        return found.masked_fill(seen.unsqueeze(1), -torch.inf)


class Targets:
    """What there is to find behind each of ``N`` requests: a head, an item from 0 and its share of the target."""

    def __init__(self, observed: Observed) -> None:
        heads, items, shares, counts = [], [], [], []
        for row, following in enumerate(observed.following.tolist()):
            known = observed.known[observed.owner[row]]
            found = [observed.secret(row, most) for most in LAST]
            found.append(np.array([following] if following and following not in known else [], dtype=np.int64))
            heads.append(np.repeat(np.arange(len(found)), [len(one) for one in found]))
            items.append(np.concatenate(found).astype(np.int64) - 1)
            shares.append(np.concatenate([np.full(len(one), 1 / max(len(one), 1)) for one in found]))
            counts.append(len(items[-1]))
        self.offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self.heads, self.items = np.concatenate(heads), np.concatenate(items)
        self.shares = np.concatenate(shares).astype(np.float32)

    def of(self, requests: np.ndarray) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of each target of these requests: its place among them, the head, the item and the share."""
        sizes = self.offsets[requests + 1] - self.offsets[requests]
        rows = np.concatenate([np.arange(self.offsets[one], self.offsets[one + 1]) for one in requests.tolist()])
        places = np.repeat(np.arange(len(requests)), sizes)
        heads, items, shares = (torch.from_numpy(x[rows]) for x in (self.heads, self.items, self.shares))
        return torch.from_numpy(places), heads, items, shares


@dataclass(frozen=True)
class Batch:
    """``B`` users with their requests, padded to the longest, and the ``N`` requests that have something to find."""

    known: Tensor
    codes: Tensor
    place: tuple[Tensor, Tensor]
    """``(N,)`` each: which user, and which of its requests."""
    prior: Tensor
    seen: Tensor
    targets: tuple[Tensor, Tensor, Tensor, Tensor]
    """See :meth:`Targets.of`."""


def batches(
    observed: Observed, targets: Targets, users: np.ndarray, rng: np.random.Generator | None = None
) -> Iterator[Batch]:
    """Users (rows of ``observed.known``) in batches, in a random order if there is an ``rng``."""
    first = np.searchsorted(observed.owner, np.arange(len(observed.known) + 1))
    something = np.diff(targets.offsets) > 0
    order = users if rng is None else rng.permutation(users)
    for start in range(0, len(order), BATCH):
        mine = order[start : start + BATCH]
        counts = first[mine + 1] - first[mine]
        rows = np.concatenate([np.arange(first[user], first[user + 1]) for user in mine.tolist()])
        row, step = np.repeat(np.arange(len(mine)), counts), np.concatenate([np.arange(n) for n in counts.tolist()])
        codes = np.zeros((len(mine), int(counts.max()), observed.codes.shape[1]), dtype=np.float32)
        codes[row, step] = observed.codes[rows]
        some = something[rows]
        if not some.any():
            continue
        place = torch.from_numpy(row[some]), torch.from_numpy(step[some])
        yield Batch(
            torch.from_numpy(observed.known_codes[mine]),
            torch.from_numpy(codes),
            place,
            torch.from_numpy(observed.prior[mine])[place[0]],
            observed.seen(mine)[place[0]],
            targets.of(rows[some]),
        )


def loss_of(model: Attacker, batch: Batch) -> Tensor:
    """The loss over the requests of a batch, their mean."""
    states = model.encode(batch.known, batch.codes)[batch.place]
    likely = F.log_softmax(model.scores(states, batch.prior, batch.seen), dim=2)
    requests, heads, items, shares = batch.targets
    return -(likely[requests, heads, items] * shares).sum() / len(states)


def train(observed: Observed, reads: Reads, seed: int) -> Attacker:
    """An attacker trained on shadow requests.

    The epoch with the lowest loss on the users held out is kept.
    """
    rng = numpy_generator(seed, "attacker", reads)
    users = rng.permutation(len(observed.known))
    held = max(1, round(HELD_OUT * len(users)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "attacker", reads))
        model = Attacker(reads, observed.codes.shape[1], observed.num_items)
        both = np.concatenate([observed.known_codes, observed.codes])  # a defence may leave the requests no spread
        model.mean.copy_(torch.from_numpy(both.mean(0)))
        model.deviation.copy_(torch.from_numpy(both.std(0)).clamp(min=1e-3))
        optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
        learning, targets = users[held:], Targets(observed)
        judging = list(batches(observed, targets, users[:held]))
        best, kept, since = np.inf, {k: v.clone() for k, v in model.state_dict().items()}, 0
        for _ in range(EPOCHS):
            model.train()
            for batch in batches(observed, targets, learning, rng):
                optimizer.zero_grad(set_to_none=True)
                loss_of(model, batch).backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
            loss = validation_loss(model, judging)
            if loss < best:
                best, kept, since = loss, {k: v.clone() for k, v in model.state_dict().items()}, 0
            else:
                since += 1
                if since >= PATIENCE:
                    break
        model.load_state_dict(kept)
    return model.eval()


@torch.inference_mode()
def validation_loss(model: Attacker, judging: list[Batch]) -> float:
    """The mean loss of the requests of these batches."""
    model.eval()
    sizes = [len(batch.place[0]) for batch in judging]
    total = sum(float(loss_of(model, batch)) * size for batch, size in zip(judging, sizes, strict=True))
    return total / max(sum(sizes), 1)


@torch.inference_mode()
def scores(model: Attacker, observed: Observed) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Rows of the requests, and the scores ``(n, 4, I)`` of each of them; chunk after chunk."""
    first = np.searchsorted(observed.owner, np.arange(len(observed.known) + 1))
    users = np.flatnonzero(np.diff(first))
    states = torch.zeros(len(observed.owner), 2 * WIDTH)
    for start in range(0, len(users), BATCH):
        mine = users[start : start + BATCH]
        counts = first[mine + 1] - first[mine]
        rows = np.concatenate([np.arange(first[user], first[user + 1]) for user in mine.tolist()])
        row, step = np.repeat(np.arange(len(mine)), counts), np.concatenate([np.arange(n) for n in counts.tolist()])
        codes = torch.zeros(len(mine), int(counts.max()), observed.codes.shape[1])
        codes[row, step] = torch.from_numpy(observed.codes[rows])
        states[rows] = model.encode(torch.from_numpy(observed.known_codes[mine]), codes)[row, step]
    for start in range(0, len(states), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(states)))
        whose = observed.owner[rows]
        prior, seen = torch.from_numpy(observed.prior[whose]), observed.seen(whose)
        yield rows, model.scores(states[rows], prior, seen)
