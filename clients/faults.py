"""What of an exception on a device goes into its reply: one line without a path of its machine.

The cloud has no use for such a path, and it may tell who the machine belongs to. The whole traceback stays in the log
of the process that the device runs in.
"""

import re
import traceback
from pathlib import Path

_SEPARATORS = re.compile(r"[/\\]")
_QUOTED = re.compile(r"(['\"])((?:(?!\1)[^\n])*[/\\](?:(?!\1)[^\n])*)\1")
_WORD = re.compile(r"\S*[/\\]\S*")


def described(error: BaseException) -> str:
    """The type and the text of an exception, and where it was raised, without a path."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return without_paths(f"{type(error).__name__}: {error}") + where


def without_paths(text: str) -> str:
    """``text`` with the last part of a path in the place of the path; nothing in it separates folders any more.

    A path that holds a space is known by its quotation marks, which Python puts around those of files.
    """
    text = _QUOTED.sub(lambda found: f"{found[1]}{_last(found[2])}{found[1]}", text)
    return _WORD.sub(lambda found: _last(found[0]), text)


def _last(path: str) -> str:
    parts = [part for part in _SEPARATORS.split(path) if part]
    return parts[-1] if parts else ""
