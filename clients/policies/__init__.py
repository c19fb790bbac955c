"""Request policies: when a device asks the cloud for a new network. A new one is a file here and a line below."""

import math

from clients.policies.base import Observation, Policy
from core.registry import Registry

__all__ = ["POLICIES", "Observation", "Policy", "make", "parse"]

POLICIES: Registry[type[Policy]] = Registry(
    {
        "always": "clients.policies.always:Always",
        "never": "clients.policies.never:Never",
        "every": "clients.policies.every:Every",
        "random": "clients.policies.random:Random",
        "drift": "clients.policies.drift:Drift",
        "adwin": "clients.policies.adwin:Adwin",
        "page-hinkley": "clients.policies.page_hinkley:PageHinkley",
        "mrd": "clients.policies.mrd:Mrd",
        "oracle": "clients.policies.oracle:Oracle",
    }
)
"""By their name on the command line; imported when they are used."""


def parse(text: str) -> tuple[type[Policy], float | None]:
    """``NAME`` or ``NAME:PARAMETER``: the policy, and its parameter if one is given.

    Raises KeyError for an unknown name (its argument is that name) and ValueError, with one line that says what is
    wrong, for a parameter that cannot be.
    """
    name, colon, given = text.partition(":")
    kind = POLICIES[name]
    if not colon:
        return kind, None
    if kind.default is None:
        raise ValueError(f"the policy '{name}' takes no parameter")
    try:
        value = float(given)
    except ValueError:
        raise ValueError(f"the parameter of the policy '{name}' is '{given}', not a number") from None
    low, high = kind.bounds
    if not (low <= value <= high and math.isfinite(value)):
        allowed = f"from {low:g} to {high:g}" if math.isfinite(high) else f"a finite number of at least {low:g}"
        raise ValueError(f"the parameter of the policy '{name}' is {given}; it must be {allowed}")
    if kind.whole and value != int(value):
        raise ValueError(f"the parameter of the policy '{name}' is {given}; it must be a whole number")
    return kind, value


def make(text: str) -> Policy:
    """The policy of ``NAME`` or ``NAME:PARAMETER``."""
    kind, value = parse(text)
    return kind((kind.default or 0.0) if value is None else value)
