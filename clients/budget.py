"""What a device can afford in a session, and how many blocks that is.

The simulation tells each device with every message, in the record ``budget``, what a real device knows of itself:
today's ceilings and what computing and traffic cost its battery. The cloud never reads it; it only sees what the device
then asks for. Without the record nothing is limited.

A network fits if one inference, the weights, the update and the energy of the session all stay within their ceilings.
What an installed network takes is its own to say (its footprint: a compressed one stores fewer numbers than its blocks
have, and may multiply more); blocks that a device fetches or trains are plain ones.
Energy is planned for ``predictions`` of them, as many as the longest session has, so that no session exceeds it. A
budget below one block is a budget like any other: the network of no blocks (embeddings score the items) still has to
fit, and if it does not, the session is not served.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from flwr.app import ConfigRecord, Message

from clients.fields import BUDGET_FIELDS, BadMessage, check
from models.arithmetic import BITS
from models.backbones.base import DIM, Backbone
from models.checkpoint import Installed
from models.shared.plain import Footprint, footprint
from models.shared.specialised import SpecialisedNetwork

BUDGET = "budget"
NOTHING_FITS = -1


@dataclass(frozen=True)
class Budget:
    """Ceilings of one device-session, infinite where there is none, and the device's own energy costs."""

    macs: float = math.inf
    """Multiply-accumulates of one inference."""
    model_bits: float = math.inf
    """Of the weights of the device's own network, and of what it makes networks of."""
    update_bits: float = math.inf
    """Of what comes down for one session and makes its network."""
    joules: float = math.inf
    """Of the whole session."""
    predictions: int = 0
    """Inferences that the energy is planned for."""
    seconds_per_mac: float = 0.0
    """Of today's computing."""
    joules_per_mac: float = 0.0
    joules_per_bit_down: float = 0.0
    joules_per_bit_up: float = 0.0
    joules_tail: float = 0.0
    bits: int = 32
    """What the device computes in (:mod:`models.arithmetic`)."""

    def record(self) -> ConfigRecord:
        """As it travels from the simulation to the device."""
        return _record(self)

    @staticmethod
    def of(message: Message) -> "Budget":
        """The record that came with a message, checked; no limits without one."""
        if BUDGET not in message.content:
            return Budget()
        record = message.content[BUDGET]
        if isinstance(record, ConfigRecord) and not any(isinstance(value, list) for value in record.values()):
            return _read(tuple(record.items()), tuple(map(type, record.values())))
        return _checked(record)

    @property
    def seconds(self) -> float:
        """Ceiling of one inference's latency."""
        return math.inf if math.isinf(self.macs) else self.macs * self.seconds_per_mac

    def allows(
        self, *, macs: int, model_bits: int, once: int = 0, update_bits: int = 0, bits_down: int = 0, bits_up: int = 0
    ) -> bool:
        """Whether a session fits: ``macs`` an inference, ``once`` more multiply-accumulates before the first.

        ``bits_down`` and ``bits_up`` are the whole messages, of which ``update_bits`` are weights.
        """
        joules = (
            (self.predictions * macs + once) * self.joules_per_mac
            + bits_down * self.joules_per_bit_down
            + bits_up * self.joules_per_bit_up
            + (self.joules_tail if bits_down + bits_up else 0.0)
        )
        return (
            macs <= self.macs
            and model_bits <= self.model_bits
            and update_bits <= self.update_bits
            and joules <= self.joules
        )

    def fits(self, taken: Footprint, once: int = 0) -> bool:
        """Whether a session with a network that is on the device already fits, whatever that network consists of."""
        return self.allows(macs=taken.macs, model_bits=taken.bits(self.bits), once=once)

    def blocks_to_run(self, installed: Installed, context: int) -> int:
        """The most blocks of its own the device can run if it has them already, or :data:`NOTHING_FITS`.

        What it makes blocks of stays in its memory beside them.
        """
        for blocks in _downwards(installed):
            taken = _own(installed, context, blocks)
            if self.allows(macs=taken.macs, model_bits=taken.bits(self.bits) + installed.making_bits):
                return blocks
        return NOTHING_FITS

    def blocks_to_fetch(self, installed: Installed, context: int, items: int, latent_bits: int = 32 * DIM) -> int:
        """The most blocks it can ask for or make itself, and run, ``items`` being what the extractors read and
        ``latent_bits`` what the latent interest takes on its way; or :data:`NOTHING_FITS`."""
        part, asks = installed.part, installed.delivery.how != "local"
        path = 8 * -(-part.backbone.blocks // 8)
        for blocks in _downwards(installed):
            taken, update = _own(installed, context, blocks), installed.update_bits(blocks)
            if self.allows(
                macs=taken.macs,
                model_bits=taken.bits(self.bits) + installed.making_bits,
                once=part.request_macs(items) + installed.making_macs(blocks),
                update_bits=update,
                bits_down=update + path if asks else 0,
                bits_up=latent_bits + path if asks else 0,
            ):
                return blocks
        return NOTHING_FITS


@lru_cache(maxsize=4096)
def _record(budget: Budget) -> ConfigRecord:
    """One record for all devices that can afford the same; nobody changes what travels."""
    return ConfigRecord({field.name: field.kind(getattr(budget, field.name)) for field in BUDGET_FIELDS})


@lru_cache(maxsize=4096)
def _read(items: tuple[tuple[str, Any], ...], kinds: tuple[type, ...]) -> Budget:
    """The budget in a record of these items; ``kinds`` are their types, as 1, 1.0 and True are one key of a cache."""
    return _checked(ConfigRecord(dict(items)))


def _checked(record: object) -> Budget:
    budget = Budget(**check(BUDGET, record, BUDGET_FIELDS))
    if budget.bits not in BITS:
        raise BadMessage(f"bits is {budget.bits}, expected 32, 16 or 8")
    return budget


def _downwards(installed: Installed) -> range:
    return range(installed.part.backbone.blocks, -1, -1)


def _own(installed: Installed, context: int, blocks: int) -> Footprint:
    """Of that many blocks a device got or trained for itself: all their weights are its own; or the most that they take
    made of an installed network."""
    backbone = installed.part.backbone
    if isinstance(installed.network, SpecialisedNetwork):
        return installed.network.footprint(backbone, context, np.arange(backbone.blocks) < blocks)
    return _plain(backbone, context, blocks)


@lru_cache(maxsize=64)
def _plain(backbone: Backbone, context: int, blocks: int) -> Footprint:
    return footprint(backbone, context, np.arange(backbone.blocks) < blocks)
