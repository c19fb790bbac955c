"""Mistakes that the user can correct, and damaged files."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake the user can correct: one line that says what is wrong, where, and what to do.

    The command line prints it without a traceback and ends with exit status 2.
    """


class Damaged(UserError):
    """A file of ours does not hold what was written, or what it should be; the line names file, reason and fix.

    Who can make the file's content again catches this and does so.
    """


def unknown(kind: str, name: str, choices: Iterable[str]) -> str:
    """The line for a name that does not exist, with the nearest one that does."""
    options = list(choices)
    every = ", ".join(options)
    if near := difflib.get_close_matches(name, options, n=1):
        return f"unknown {kind} '{name}'; did you mean '{near[0]}'? Choose from: {every}"
    return f"unknown {kind} '{name}'; choose from: {every}"
