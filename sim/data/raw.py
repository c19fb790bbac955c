"""Read the bytes of a raw file and unpack them; the compression is recognised by the first bytes, not by a suffix."""

import gzip
import lzma
import zlib
from dataclasses import dataclass
from pathlib import Path

from core.errors import UserError

_PACKED = {b"\x1f\x8b": "gzip", b"\xfd7zXZ\x00": "xz"}
_REFUSED = {
    b"PK\x03\x04": "a zip archive; unpack it",
    b"BZh": "a bzip2 file; unpack it",
    b"\x28\xb5\x2f\xfd": "a Zstandard file; unpack it",
    b"PAR1": "a Parquet file; write it as CSV",
    b"\x89HDF": "an HDF5 file; write it as CSV",
    b"\xff\xfe": "UTF-16 text; convert it to UTF-8",
    b"\xfe\xff": "UTF-16 text; convert it to UTF-8",
    b"{": "JSON; write it as CSV with a header user,item,timestamp",
    b"[": "JSON; write it as CSV with a header user,item,timestamp",
    b"<": "HTML or XML; get the data file itself",
}
_SUFFIX_OF = {".gz": "gzip", ".xz": "xz"}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Raw:
    """An unpacked file."""

    name: str
    """As messages call it, usually its path."""
    data: bytes
    """The text has no byte order mark; its lines end with ``\\n`` or ``\\r\\n``."""
    notes: tuple[str, ...] = ()
    """What the reader recognised by itself."""


def read_raw(path: Path) -> Raw:
    """Read and unpack a file.

    Raises:
        UserError: The file is missing, damaged, empty, or of a kind that holds no table of text.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError(
            f"{path} does not exist; name an existing file, or use --dataset synthetic, which needs none"
        ) from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error})") from error
    packed = next((kind for magic, kind in _PACKED.items() if data.startswith(magic)), None)
    named = _SUFFIX_OF.get(path.suffix.lower())
    if data and named is not None and packed != named:
        found = f"those of {packed}" if packed else f"not those of {named}"
        raise UserError(f"{path}: its first bytes are {found}; it may be damaged or cut short, or rename it")
    try:
        if packed == "gzip":
            data = gzip.decompress(data)
        elif packed == "xz":
            data = lzma.decompress(data)
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise UserError(f"{path} cannot be unpacked as {packed}, it may be damaged or cut short ({error})") from error
    for magic, what in _REFUSED.items():
        if data.startswith(magic):
            raise UserError(f"{path} is {what}")
    data = data.removeprefix(_BYTE_ORDER_MARK)
    if not data or data.isspace():
        raise UserError(f"{path} is empty")
    if b"\n" not in data:
        data = data.replace(b"\r", b"\n")
    notes = (f"compression: {packed}, told by the bytes of {path.name}",) if packed and named is None else ()
    return Raw(str(path), data, notes)
