"""Request policies: when a device asks the cloud for a new network. A new one is a file here and a line below."""

from clients.policies.adwin import Adwin
from clients.policies.always import Always
from clients.policies.base import Observation, Policy
from clients.policies.drift import Drift
from clients.policies.every import Every
from clients.policies.mrd import Mrd
from clients.policies.never import Never
from clients.policies.oracle import Oracle
from clients.policies.page_hinkley import PageHinkley
from clients.policies.random import Random

__all__ = ["POLICIES", "Observation", "Policy", "make", "parse"]

POLICIES: dict[str, type[Policy]] = {
    policy.name: policy for policy in (Always, Never, Every, Random, Drift, Adwin, PageHinkley, Mrd, Oracle)
}
"""By their name on the command line."""


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
    if not low <= value <= high:
        raise ValueError(f"the parameter of the policy '{name}' is {given}; it must be from {low:g} to {high:g}")
    return kind, value


def make(text: str) -> Policy:
    """The policy of ``NAME`` or ``NAME:PARAMETER``."""
    kind, value = parse(text)
    return kind((kind.default or 0.0) if value is None else value)
