"""Write a file whole or not at all, and have it on the disk before anything relies on it.

The content goes to a temporary file in the same folder, ``.<name>.<8 hex digits>.part``, which then replaces the file.
The file is flushed to disk before that and its folder after it, so that a power cut leaves the old or the new content.
The writer holds a lock on its temporary; the system releases it when the process ends, however it ends. So a temporary
that nobody has locked is left over: :func:`sweep` removes it, and every process does that in each folder it writes to.
"""

import errno
import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from core.errors import UserError

Content = bytes | str | Callable[[Path], object]
"""Bytes, text (written as UTF-8), or a function that writes the file to the path it gets."""

TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.part")
"""Names of temporary files."""

_ELSEWHERE = "name another folder (--out for a run, $SIM_CACHE_DIR for trained models)"
_FIXES = {
    errno.ENOSPC: ("there is no space left on that disk", f"free some or {_ELSEWHERE}, and start the command again"),
    errno.EDQUOT: ("the disk quota is used up", f"free some space or {_ELSEWHERE}, and start the command again"),
    errno.EFBIG: ("it is larger than the system allows", f"raise the limit (ulimit -f) or {_ELSEWHERE}"),
    errno.EROFS: ("that disk is read-only", f"{_ELSEWHERE}"),
    errno.EACCES: ("permission is denied", f"change the permissions or {_ELSEWHERE}"),
    errno.EPERM: ("it is not permitted", f"change the permissions or {_ELSEWHERE}"),
    errno.ENOTDIR: ("a part of its path is a file", f"rename that or {_ELSEWHERE}"),
    errno.EEXIST: ("a part of its path is a file", f"rename that or {_ELSEWHERE}"),
    errno.EISDIR: ("it is a folder", f"rename that or {_ELSEWHERE}"),
    errno.ENAMETOOLONG: ("its name is too long", "choose a shorter one"),
    errno.ELOOP: ("its links lead in a circle", f"remove them or {_ELSEWHERE}"),
    errno.EIO: ("the disk reports an error", f"{_ELSEWHERE} on a disk that works"),
    errno.EMFILE: ("too many files are open", "raise the limit (ulimit -n) and start the command again"),
    errno.ENFILE: ("too many files are open", "close other programs and start the command again"),
    errno.ENOENT: ("it does not exist", f"create it or {_ELSEWHERE}"),
}
"""What the user reads for an error of the operating system: the reason, and what to do."""

REFUSALS = frozenset(_FIXES) - {errno.ENOENT}
"""Errors of the operating system that the user can mend, wherever they come from."""

_swept: set[str] = set()


def write(path: Path, content: Content, *, durable: bool = True) -> Path:
    """Write ``content`` to ``path``, whole or not at all, and give ``path``; its folder is made if there is none.

    ``durable=False`` leaves it to the operating system when the file is on the disk; it is still whole or absent as
    long as the machine runs. Raises :class:`UserError` where the operating system refuses.
    """
    if isinstance(content, str):
        try:
            content = content.encode()
        except UnicodeEncodeError:
            raise UserError(
                f"{path}: a name in it is no text in this terminal's encoding; set PYTHONUTF8=1 and start again"
            ) from None
    with explained(path):
        make_folder(path.parent)
        _sweep_once(path.parent)
        with _temporary(path) as (temporary, descriptor):
            if isinstance(content, bytes):
                _write_all(descriptor, content)
            else:
                content(temporary)
            if durable:
                _flush(temporary)
            os.replace(temporary, path)
            if durable:
                _flush_folder(path.parent)
    return path


def link(source: Path, target: Path) -> None:
    """Give ``source`` a second name, a hard link where the file system allows and a copy elsewhere."""

    def fill(temporary: Path) -> None:
        temporary.unlink()
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)

    with explained(target):
        if target.exists() and os.path.samefile(source, target):
            return
        with source.open("rb") as held:  # a link is the same file, so this is the lock on the temporary, too
            with suppress(OSError):
                fcntl.flock(held, fcntl.LOCK_SH)
            write(target, fill)


def make_folder(path: Path) -> None:
    """Make a folder and those above it, each of them on the disk; raises :class:`UserError` where that cannot be."""
    if path.is_dir():
        return
    with explained(path):
        missing = [path, *(above for above in path.parents if not above.exists())]
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            _flush_folder(folder.parent)


def sweep(folder: Path) -> None:
    """Remove the temporaries in ``folder`` (not below it) that no process is writing."""
    with suppress(OSError):
        for entry in [entry.path for entry in os.scandir(folder) if TEMPORARY.fullmatch(entry.name)]:
            with suppress(OSError), open(entry, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises where a writer has it
                os.unlink(entry)


def flush_all() -> None:
    """Wait until everything that was written, with ``durable=False`` too, is on the disks."""
    os.sync()


@contextmanager
def explained(path: Path | None = None) -> Iterator[None]:
    """Turn an error of the operating system inside the block into one line about ``path``."""
    try:
        yield
    except OSError as error:
        raise explain(error, path) from error


def explain(error: OSError, path: Path | None = None) -> UserError:
    """The line for an error of the operating system: file, cause, and what to do."""
    named = path if path is not None else Path(os.fsdecode(error.filename)) if error.filename else None
    cause, fix = _FIXES.get(error.errno or 0, (error.strerror or str(error) or type(error).__name__, ""))
    if named is not None and error.errno in (errno.ENOTDIR, errno.EEXIST):
        blocking = next((above for above in named.parents if above.is_file()), named if named.is_file() else None)
        cause = f"{blocking} is a file" if blocking is not None else cause
    what = "a file cannot be used" if named is None else f"{named} cannot be {_deed(error, named)}"
    return UserError(f"{what}: {cause}; {fix}" if fix else f"{what}: {cause}")


def _deed(error: OSError, path: Path) -> str:
    refused = error.errno in (errno.EACCES, errno.EPERM, errno.EISDIR)
    reading = refused and path.exists() and os.access(path.parent, os.W_OK) and not os.access(path, os.R_OK)
    return "read" if reading else "written"


@contextmanager
def _temporary(path: Path) -> Iterator[tuple[Path, int]]:
    """An empty temporary beside ``path``, locked, and its descriptor; it is gone when the block ends."""
    temporary, descriptor = _create(path)
    try:
        yield temporary, descriptor
    finally:
        os.close(descriptor)
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _create(path: Path) -> tuple[Path, int]:
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # another process sweeps it away at this moment
            os.close(descriptor)
            continue
        except OSError:
            return temporary, descriptor  # a file system without locks: there nothing is swept away either
        if temporary.exists():
            return temporary, descriptor
        os.close(descriptor)


def _write_all(descriptor: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_folder(folder: Path) -> None:
    try:
        _flush(folder)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EACCES):  # some file systems flush no folders
            raise


def _sweep_once(folder: Path) -> None:
    if str(folder) not in _swept:
        _swept.add(str(folder))
        sweep(folder)
