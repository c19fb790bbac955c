"""Things that have a name on the command line, imported when they are first used.

``--help`` and a mistake in an option need the names alone, and not the libraries that a method or a policy needs.
"""

import pkgutil
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Generic, TypeVar, cast

from core.errors import UserError

T = TypeVar("T")


def _found(name: str, place: str) -> object:
    """What lies at ``module:Thing``; raises :class:`UserError` if the module, or the thing in it, is not there."""
    module, _, thing = place.partition(":")
    try:
        return pkgutil.resolve_name(place)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # the module is there, and lacks what it imports
        raise UserError(f"{name} is registered as {place}, and there is no module {module}") from error
    except AttributeError as error:
        if module not in sys.modules or hasattr(sys.modules[module], thing):
            raise  # the module is broken
        raise UserError(f"{name} is registered as {place}, and the module {module} has no {thing}") from error


class Registry(MutableMapping[str, T], Generic[T]):
    """A mapping from names to things, written down as where they are: ``{"duet": "strategies.duet:Duet"}``.

    Names, their number and ``in`` import nothing; ``registry[name]`` imports the module and gives its attribute. A
    thing that is assigned, ``registry[name] = thing``, is given back as it is.
    """

    def __init__(self, places: Mapping[str, str]) -> None:
        self._places = dict(places)
        self._things: dict[str, T] = {}

    def __getitem__(self, name: str) -> T:
        if name not in self._things:
            self._things[name] = cast(T, _found(name, self._places[name]))
        return self._things[name]

    def __setitem__(self, name: str, thing: T) -> None:
        self._places[name], self._things[name] = "", thing

    def __delitem__(self, name: str) -> None:
        del self._places[name]
        self._things.pop(name, None)

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)
