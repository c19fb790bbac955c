"""What cloud and simulation know of a session before its device reports, and the check of the report against it.

:mod:`clients.fields` has the types and ranges of the fields. Here are the values that follow from what was sent: how
many events the session has, which networks the device can have run, and what each of them takes.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch

from clients.fields import BadMessage, shown
from clients.messages import SAMPLED, Measured
from models.backbones.base import DIM
from models.checkpoint import Installed
from models.metrics import CUTOFF, HITS, NDCGS
from models.shared.plain import Footprint, footprint
from models.shared.specialised import SpecialisedNetwork

LEAST_GAIN = 1 / math.log2(1 + CUTOFF)
"""NDCG of a hit in the last place that counts."""
ROUNDING = 1e-9
"""Share by which a sum over a session's events may differ from the same sum in another order."""

Counts = Collection[int]
"""The values that a count may have: a range, or a few numbers."""


@dataclass(frozen=True)
class Expectation:
    """What is known of one device-session before its report arrives."""

    events: int
    """Interactions of the session."""
    networks: "Networks"
    """What a network takes, by its path."""
    paths: Counts
    """The paths that a served device can have run."""
    macs_adapt: tuple[Counts, ...] = (range(1),)
    """What making itself a network may have taken: in one of these."""
    macs_decide: Counts = range(1)
    """What deciding whether to adapt may have taken."""

    def check(self, told: Measured) -> None:
        """Raise :class:`BadMessage`, which names the field, where the report cannot be of this session."""
        if told["events"] != self.events:
            raise BadMessage(f"events is {told['events']}, the session has {self.events}")
        self._quality("hits", "ndcg", told)
        self._cutoffs(told)
        if SAMPLED[0] in told:
            self._sampled(told)
        if "hits_stale" in told:
            for kind in ("stale", "fresh"):
                self._quality(f"hits_{kind}", f"ndcg_{kind}", told)
            played = told["hits"], told["ndcg"]
            if played not in [(told[f"hits_{kind}"], told[f"ndcg_{kind}"]) for kind in ("stale", "fresh")]:
                raise BadMessage("hits and ndcg are neither those of the stale nor those of the fresh network")
        if not any(told["macs_adapt"] in counts for counts in self.macs_adapt):
            raise BadMessage(f"macs_adapt is {told['macs_adapt']}, which adapting does not take here")
        if told["macs_decide"] not in self.macs_decide:
            raise BadMessage(f"macs_decide is {told['macs_decide']}, which deciding does not take here")
        self._network(told)

    def _quality(self, hits: str, ndcg: str, told: Measured) -> None:
        if told[hits] > self.events:
            raise BadMessage(f"{hits} is {told[hits]}, the session has {self.events} events")
        low, high = told[hits] * LEAST_GAIN * (1 - ROUNDING), told[hits] * (1 + ROUNDING)
        if not low <= told[ndcg] <= high:
            raise BadMessage(f"{ndcg} is {shown(told[ndcg])}, which {told[hits]} hits cannot give")

    def _cutoffs(self, told: Measured) -> None:
        """The measures at all cut-offs have to come from one list of ranks.

        Of the events whose rank lies above one cut-off, ``j``, and not above the next, ``k``, each adds between
        ``1 / log2(1 + k)`` and ``1 / log2(2 + j)`` to the NDCG, and between ``1 / k`` and ``1 / (1 + j)`` to ``mrr``.
        """
        ends = sorted(HITS)
        for j, k in pairwise(ends):
            if told[HITS[k]] < told[HITS[j]]:
                raise BadMessage(f"{HITS[k]} is {told[HITS[k]]}, less than {HITS[j]}, which is {told[HITS[j]]}")
        last, items = ends[-1], self.networks.backbone.num_items
        if (rest := self.events - told[HITS[last]]) < 0:
            raise BadMessage(f"{HITS[last]} is {told[HITS[last]]}, the session has {self.events} events")
        low = high = float(told[HITS[1]])
        for j, k in pairwise(ends):
            more = told[HITS[k]] - told[HITS[j]]
            gain = told[NDCGS[k]] - told[NDCGS[j]]
            slack = ROUNDING * (1 + told[HITS[k]])
            if not more / math.log2(1 + k) - slack <= gain <= more / math.log2(2 + j) + slack:
                raise BadMessage(
                    f"{NDCGS[k]} is {shown(told[NDCGS[k]])}, which {told[HITS[k]]} hits of which {told[HITS[j]]} are "
                    f"among the first {j} cannot give"
                )
            low, high = low + more / k, high + more / (1 + j)
        low, high = low + rest / max(items, last + 1), high + rest / (last + 1)
        if not low * (1 - ROUNDING) <= told["mrr"] <= high * (1 + ROUNDING):
            raise BadMessage(f"mrr is {shown(told['mrr'])}, which these hits cannot give ({low:g} to {high:g})")

    def _sampled(self, told: Measured) -> None:
        """Among a part of the candidates no item ranks later than among all."""
        hits, ndcg = SAMPLED
        self._quality(hits, ndcg, told)
        if told[hits] < told["hits"] or told[ndcg] < told["ndcg"] * (1 - ROUNDING):
            raise BadMessage(f"{hits} and {ndcg} are worse among sampled candidates than among all")

    def _network(self, told: Measured) -> None:
        names = ("macs", "macs_paper", "param_bits")
        if not told["served"]:
            for name in ("path", *names):
                if told[name]:
                    raise BadMessage(f"{name} is {told[name]}, though the device was not served")
            return
        path = int(told["path"])
        if path not in self.paths:
            raise BadMessage(f"path is {path:b}, which the device cannot have run")
        least, most = self.networks.takes(path)
        bits = self.networks.installed.arithmetic.bits
        limits = [(f.macs, f.macs_paper, f.bits(bits)) for f in (least, most)]
        for name, low, high in zip(names, *limits, strict=True):
            if not low <= told[name] <= high:
                span = str(low) if low == high else f"{low} to {high}"
                raise BadMessage(f"{name} is {told[name]}, which path {path:b} does not take ({span})")


class Networks:
    """What the networks take that devices can run with what is installed on them."""

    def __init__(self, installed: Installed) -> None:
        self.installed, self.backbone = installed, installed.part.backbone
        self.takes = lru_cache(maxsize=1 << 12)(self._takes)

    @property
    def everything(self) -> int:
        """The path of all blocks."""
        return 2**self.backbone.blocks - 1

    def _takes(self, path: int) -> tuple[Footprint, Footprint]:
        """The least and the most that one inference takes with this path; the same unless units are switched."""
        backbone, context = self.backbone, self.backbone.context
        blocks = (path >> np.arange(backbone.blocks)) % 2 == 1
        network = self.installed.network
        if network is None:
            plain = footprint(backbone, context, blocks)
            return plain, plain
        if isinstance(network, SpecialisedNetwork):
            return network.least(backbone, context, blocks), network.footprint(backbone, context, blocks)
        off = torch.zeros(1, backbone.blocks, backbone.linears * DIM)
        return (
            network.footprint(backbone, context, blocks, off),
            network.footprint(backbone, context, blocks),
        )
