"""What methods are called in tables and figures, and how numbers are written there."""

import math
from collections.abc import Callable

BASELINE = "devicerec"
"""The method that others are compared with: one network for every device, never adapted."""

TITLES = {
    "devicerec": "DeviceRec",
    "finetune": "Finetune",
    "duet": "DUET",
    "forward-ofa": "Forward-OFA",
    "sttd": "STTD",
    "rare-gem": "Rare Gem",
    "gater": "Gater",
    "litepred": "LitePred",
    "forward-ofa-controller": "+ controller",
    "forward-ofa-no-structure": "w.o. structural vector",
    "forward-ofa-random": "random blocks",
    "forward-ofa-first": "first k blocks",
    "forward-ofa-last": "last k blocks",
    "duet-plus": "DUET+",
    "forward-ofa-plus": "Forward-OFA+",
    "forward-ofa-plus-random": "+ random blocks",
    "forward-ofa-plus-first": "+ first k blocks",
    "forward-ofa-plus-last": "+ last k blocks",
}

NOTES = {
    "devicerec": "one network for all devices, trained in the cloud, never adapted",
    "finetune": "DeviceRec's network, trained further by each device on its own history",
    "duet": "the cloud makes the weights of every block for each device, in one forward pass",
    "forward-ofa": "each device chooses its blocks, the cloud makes their weights in one forward pass",
    "sttd": "one network with its layers compressed by a tensor decomposition",
    "rare-gem": "one network of which training keeps few weights",
    "gater": "one network whose units are switched off by what the device's input looks like",
    "litepred": "each device searches its blocks under a predicted latency and trains them locally",
    "forward-ofa-controller": "each device chooses its blocks of one network that is the same for all",
    "forward-ofa-no-structure": "Forward-OFA whose latent interest knows nothing of the chosen blocks",
    "forward-ofa-random": "Forward-OFA with as many blocks, drawn at random",
    "forward-ofa-first": "Forward-OFA with as many blocks, from the front",
    "forward-ofa-last": "Forward-OFA with as many blocks, from the back",
    "duet-plus": "DUET whose cloud makes low-rank changes of DeviceRec's network",
    "forward-ofa-plus": "Forward-OFA whose cloud makes low-rank changes of DeviceRec's network, for any budget",
    "forward-ofa-plus-random": "Forward-OFA+ with as many blocks, drawn at random",
    "forward-ofa-plus-first": "Forward-OFA+ with as many blocks, from the front",
    "forward-ofa-plus-last": "Forward-OFA+ with as many blocks, from the back",
}


def title(method: str) -> str:
    """The method's name for readers; a method that is not known here keeps its own name."""
    return TITLES.get(method, method)


def number(value: float, digits: int = 3) -> str:
    """``value`` with ``digits`` significant digits and without exponent up to a billion; a dash for NaN.

    >>> number(0.012345), number(12345.6), number(0.0), number(2.5e-7)
    ('0.0123', '12,346', '0', '2.5e-07')
    """
    if not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    if magnitude < -4 or magnitude > 9:
        return f"{value:.{digits}g}"
    return f"{value:,.{max(0, digits - 1 - magnitude)}f}"


def quality(value: float) -> str:
    """A Hit@10 or NDCG@10, four decimals as in the paper."""
    return "–" if not math.isfinite(value) else f"{value:.4f}"


def signed(value: float) -> str:
    """A difference of two qualities with its sign, the minus a real one; a dash for NaN."""
    return "–" if not math.isfinite(value) else f"{value:+.4f}".replace("-", "−")


def interval(low: float, high: float, write: Callable[[float], str] = quality) -> str:
    """``0.1010 to 0.1043``; nothing if there is none."""
    return f"{write(low)} to {write(high)}" if math.isfinite(low) else ""


def percent(share: float, digits: int = 1) -> str:
    """A share from 0 to 1 as a percentage."""
    return "–" if not math.isfinite(share) else f"{100 * share:.{digits}f}\u00a0%"


def signed_percent(share: float, digits: int = 1) -> str:
    """A relative difference with its sign, the minus a real one."""
    if not math.isfinite(share):
        return "–"
    return f"{100 * share:+.{digits}f}\u00a0%".replace("-", "−")


def p_text(p: float) -> str:
    """A p-value for readers."""
    if not math.isfinite(p):
        return "–"
    return "<\u00a00.001" if p < 0.001 else f"{p:.3f}"


def join(parts: list[str]) -> str:
    """``a, b and c``."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""
