"""How every command ends: its exit status, and one line for a mistake of the user."""

import sys
from collections.abc import Callable

from core import atomic, interrupts
from core.errors import UserError

DONE, MISTAKE, INTERRUPTED = 0, 2, 130
"""Exit statuses: done; what the user can mend; Ctrl-C."""


def run(command: Callable[[], object], interrupted: Callable[[], str] = lambda: "interrupted") -> int:
    """Call ``command`` and give the exit status of the process.

    A :class:`UserError` becomes the line ``error: ...`` on stderr, and so does what the operating system refuses (a
    full or read-only disk, permissions); KeyboardInterrupt becomes the text that ``interrupted`` gives; all without a
    traceback. Any other exception is a fault of the program and passes. What a terminal cannot encode is written with
    backslashes.
    """
    _write_anything()
    try:
        _check_arguments()
        with interrupts.remembered():
            command()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return MISTAKE
    except OSError as error:
        if error.errno not in atomic.REFUSALS:
            raise
        print(f"error: {atomic.explain(error)}", file=sys.stderr)
        return MISTAKE
    except KeyboardInterrupt:
        print(f"\n{interrupted()}", file=sys.stderr)
        return INTERRUPTED
    return DONE


def _check_arguments() -> None:
    """Refuse an argument that the terminal's encoding cannot represent, since it could not name a file."""
    for word in sys.argv[1:]:
        try:
            word.encode()
        except UnicodeEncodeError:
            shown = word.encode(errors="backslashreplace").decode()
            raise UserError(
                f"'{shown}' is no text in this terminal's encoding; set PYTHONUTF8=1 and start again"
            ) from None


def _write_anything() -> None:
    """Let stdout and stderr replace what their encoding does not have, a path in another alphabet say."""
    for stream in (sys.stdout, sys.stderr):
        strict = getattr(stream, "errors", None) in ("strict", "surrogateescape")
        if strict and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
