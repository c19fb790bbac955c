"""The session of method LitePred: find the device's own subnet in the installed supernet, train it, then play.

The device fits a latency predictor (:mod:`clients.search.latency`), evolves a path whose predicted latency, weights and
energy stay within today's budget (:mod:`clients.search.evolution`), and trains it further as method Finetune trains the
whole network. What it looks for is the path with the least loss on the device's latest interactions. The search is
costly: it is made in the device's first session, and again only in one whose budget the path no longer meets.

A device without the energy to search runs the whole network, less random blocks if that does not fit.
"""

import math
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from flwr.app import Message
from torch import Tensor

from clients import local_training
from clients.budget import Budget
from clients.device_batch import DeviceBatch
from clients.inference import PREDICTIONS
from clients.search import evolution, latency
from clients.session import finetune
from core.seeds import numpy_generator
from models.backbones.base import DIM
from models.candidates import Candidates
from models.device_part import DevicePart
from models.shared.plain import Network, footprint

HELD_BACK = 20
"""The device's latest interactions, which a path is judged by."""
EVALUATED = 256
"""Candidates whose states are alive at once."""


def rerank(batch: DeviceBatch) -> list[Message]:
    """The whole session."""
    part, network = batch.part, batch.installed.network
    assert network is not None
    plan = finetune.plan(batch)
    rngs = [
        numpy_generator(config.seed, "path search", d, config.session)
        for d, config in zip(batch.devices, batch.configs, strict=True)
    ]
    search = Search(part, network, batch.past, batch.installed.candidates)
    planned = search.most_macs()
    paths, new = np.ones((len(batch), batch.blocks), dtype=bool), np.ones(len(batch), dtype=bool)
    spent, able = np.zeros(len(batch), dtype=np.int64), []
    for row, budget in enumerate(batch.budgets):
        fits = partial(_fits, part, budget)
        known = _remembered(batch, row)
        if known is not None and fits(known):
            paths[row], new[row] = known, False
        elif plan.makes[row] and fits(np.zeros(batch.blocks, dtype=bool), once=int(planned[row])):
            able.append(row)
        else:
            paths[row] = evolution.repair(paths[row], fits, rngs[row])
    if able:
        found = search(able, [batch.budgets[row] for row in able], [rngs[row] for row in able])
        for row, mine in zip(able, found, strict=True):
            paths[row] = mine.path
            spent[row] = mine.macs if plan.adapts[row] else 0
    return finetune.tune_and_play(batch, plan, paths, new, spent)


@dataclass(frozen=True)
class Subnet:
    """What one device found, and the multiply-accumulates of measuring and searching."""

    path: np.ndarray
    macs: int


class Search:
    """The search of ``D`` devices in one supernet, on their histories ``past``."""

    def __init__(
        self, part: DevicePart, network: Network, past: list[np.ndarray], candidates: Candidates = "all"
    ) -> None:
        self.part, self.network, self.backbone = part, network, part.backbone
        self.windows, self.targets, self.seen = local_training.training_windows(
            past, self.backbone.context, HELD_BACK, candidates
        )
        self._used = (self.windows != 0).any(dim=2).sum(dim=1).numpy()
        self._counts = (self.targets > 0).sum(dim=(1, 2)).numpy()

    def __call__(self, rows: list[int], budgets: list[Budget], rngs: list[np.random.Generator]) -> list[Subnet]:
        """Fit the predictors of the devices ``rows`` and evolve their paths within ``budgets``."""
        measured = [latency.sample(self.backbone.blocks, rng) for rng in rngs]
        fits = []
        for row, budget, paths in zip(rows, budgets, measured, strict=True):
            counts = np.array([self._inference_macs(path) for path in paths])
            predict = latency.fit(paths, counts * budget.seconds_per_mac)
            # Weights and energy are counted, latency is predicted.
            rest = replace(budget, macs=math.inf)
            once = int(self._most_macs(row))
            fits.append(partial(_predicted_to_fit, self.part, rest, predict, budget.seconds, once))
        where = np.array(rows)
        found = evolution.evolve(
            self.backbone.blocks, fits, rngs, lambda which, paths: self.losses(where[which], paths)
        )
        return [
            Subnet(
                one.path,
                sum(self._inference_macs(path) for path in paths)
                + sum(self._evaluation_macs(row, int(path.sum())) for path in one.evaluated),
            )
            for row, paths, one in zip(rows, measured, found, strict=True)
        ]

    def most_macs(self) -> np.ndarray:
        """What a search multiplies at most, ``(D,)``; known before it begins."""
        return np.array([self._most_macs(row) for row in range(len(self._used))])

    @torch.inference_mode()
    def losses(self, rows: np.ndarray, paths: np.ndarray) -> np.ndarray:
        """Mean loss of each path ``(E, L)`` on the held-back interactions of the device in ``rows`` ``(E,)``; infinite
        where a network gives NaN, so that no search prefers it."""
        parts = []
        for start in range(0, len(rows), EVALUATED):
            some = slice(start, start + EVALUATED)
            chosen = torch.from_numpy(rows[some])
            parts.append(self._losses(chosen, torch.from_numpy(paths[some])))
        return torch.cat(parts).nan_to_num(nan=math.inf, posinf=math.inf).numpy()

    def _losses(self, chosen: Tensor, keep: Tensor) -> Tensor:
        windows, targets = self.windows[chosen], self.targets[chosen]
        states = self.backbone.encode(windows, lambda k, rows: self.network[k], keep=keep)
        real = targets > 0
        states, wanted, seen = states[real], targets[real], None if self.seen is None else self.seen[chosen][real]
        found = []
        for start in range(0, len(wanted), PREDICTIONS):
            some = slice(start, start + PREDICTIONS)
            scores = self.backbone.score(states[some])
            if seen is not None:
                seen[some].exclude(scores)
            found.append(F.cross_entropy(scores, wanted[some] - 1, reduction="none"))
        each = torch.cat([*found, states.new_zeros(0)])
        owner = torch.arange(len(windows))[:, None, None].expand_as(targets)[real]
        sums = torch.zeros(len(windows), dtype=torch.float64).index_add(0, owner, each.double())
        return sums / real.sum(dim=(1, 2)).clamp(min=1)

    def _inference_macs(self, path: np.ndarray) -> int:
        return self.backbone.inference_macs(self.backbone.context, int(path.sum()))

    def _evaluation_macs(self, row: int, blocks: int) -> int:
        window = blocks * self.backbone.block_macs(self.backbone.context)
        return int(self._used[row] * window + self._counts[row] * self.backbone.num_items * DIM)

    def _most_macs(self, row: int) -> int:
        blocks = self.backbone.blocks
        measuring = latency.SAMPLES * self.backbone.inference_macs(self.backbone.context, blocks)
        return measuring + evolution.most_evaluations(blocks) * self._evaluation_macs(row, blocks)


def most_search_macs(part: DevicePart, network: Network, past: int) -> int:
    """What a search multiplies at most on a device with ``past`` interactions, whichever they are."""
    known = np.ones(min(past, 2 * HELD_BACK + part.backbone.context), dtype=np.int64)
    return int(Search(part, network, [known]).most_macs()[0])


def _fits(part: DevicePart, budget: Budget, path: np.ndarray, once: int = 0) -> bool:
    return budget.fits(footprint(part.backbone, part.backbone.context, path), once)


def _predicted_to_fit(
    part: DevicePart, rest: Budget, predict: latency.Latency, limit: float, once: int, path: np.ndarray
) -> bool:
    return predict(path) <= limit and _fits(part, rest, path, once)


def _remembered(batch: DeviceBatch, row: int) -> np.ndarray | None:
    """The path of the device's last adaptation; none where it remembers nothing."""
    policy = batch.policies[row]
    if policy is None:
        return None
    adapted = policy.state.adapted(batch.configs[row].session)
    return None if adapted is None else policy.state.path(adapted)
