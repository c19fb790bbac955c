"""Files that say what they are and carry digests of their content, so that a damaged or a wrong one is not used.

Facts (what a file is: kind, method, seed, ...) are texts by name. SHA-256 throughout. What does not match raises
:class:`core.errors.Damaged`; ``fix`` is the end of its line, what the user can do.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as pack_safetensors

from core import atomic
from core.errors import Damaged

Facts = Mapping[str, str]

_DIGEST, _DIGESTS = "digest", "digests"
_SCHEMA_KEY = b"forward-ofa"
_MAGIC = b"forward-ofa sealed file 1\n"


def damaged(path: Path, why: str, fix: str) -> Damaged:
    """The error for a file that is damaged or not the right one."""
    return Damaged(f"{path} is damaged: {why}; {fix}")


def expect(path: Path, found: Mapping[str, object], wanted: Facts, fix: str) -> None:
    """Raise :class:`Damaged` unless the facts that a file states are the ``wanted`` ones."""
    for name, value in wanted.items():
        if str(found.get(name)) != value:
            raise Damaged(f"{path} is not the right file: its {name} is {found.get(name)}, not {value}; {fix}")


def read_bytes(path: Path, fix: str) -> bytes:
    """All of a file; raises :class:`Damaged` if there is none or it is empty."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise Damaged(f"{path} is missing; {fix}") from None
    except OSError as error:
        raise atomic.explain(error, path) from error
    if not content:
        raise damaged(path, "it is empty", fix)
    return content


# -- tensors: safetensors ---------------------------------------------------------------------------------------------


def pack_tensors(arrays: Mapping[str, np.ndarray], facts: Facts) -> bytes:
    """A safetensors file with a digest of each array and one of all facts in its header."""
    header = dict(facts)
    header[_DIGESTS] = json.dumps({name: _array_digest(array) for name, array in sorted(arrays.items())})
    header[_DIGEST] = _facts_digest(header)
    return pack_safetensors({name: _contiguous(array) for name, array in arrays.items()}, header)


def read_tensors(
    path: Path, fix: str, wanted: Callable[[str], bool] = lambda name: True
) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """The facts and the ``wanted`` arrays of a file from :func:`pack_tensors`, checked; others are not even read."""
    try:
        with safe_open(path, "np") as file:
            header: dict[str, str] = file.metadata() or {}
            digests = _checked_header(path, header, fix)
            names = list(file.keys())
            if set(names) != set(digests):
                raise damaged(path, "it does not hold the arrays that its header names", fix)
            arrays = {name: file.get_tensor(name) for name in names if wanted(name)}
    except SafetensorError as error:
        empty = path.is_file() and path.stat().st_size == 0
        raise damaged(path, "it is empty" if empty else _first_line(error), fix) from None
    except FileNotFoundError:
        raise Damaged(f"{path} is missing; {fix}") from None
    except OSError as error:
        raise atomic.explain(error, path) from error
    for name, array in arrays.items():
        if _array_digest(array) != digests[name]:
            raise damaged(path, f"{name} does not match its digest", fix)
    return {name: value for name, value in header.items() if name not in (_DIGEST, _DIGESTS)}, arrays


def _checked_header(path: Path, header: dict[str, str], fix: str) -> dict[str, str]:
    rest = dict(header)
    if rest.pop(_DIGEST, None) != _facts_digest(rest):
        raise damaged(path, "its header does not match its digest", fix)
    digests: dict[str, str] = json.loads(rest[_DIGESTS])
    return digests


# -- rows: Parquet ----------------------------------------------------------------------------------------------------


def pack_rows(frame: pd.DataFrame, facts: Facts) -> bytes:
    """Plain Parquet, with the facts and a digest of all values in the metadata of its schema."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    seal = dict(facts)
    seal[_DIGEST] = _rows_digest(table.to_pandas(), seal)
    out = BytesIO()
    metadata = {**(table.schema.metadata or {}), _SCHEMA_KEY: json.dumps(seal)}
    pq.write_table(table.replace_schema_metadata(metadata), out, write_page_checksum=True)
    return out.getvalue()


def read_rows(path: Path, facts: Facts, fix: str, *, unsealed: bool = False) -> pd.DataFrame:
    """The rows of a file from :func:`pack_rows`, if it states the wanted facts.

    ``unsealed``: a file of an earlier version, without seal, is read as well.
    """
    content = read_bytes(path, fix)
    try:
        table = pq.read_table(BytesIO(content), page_checksum_verification=True)
        seal = json.loads((table.schema.metadata or {}).get(_SCHEMA_KEY, b"{}"))
        frame: pd.DataFrame = table.to_pandas()
        digest = seal.pop(_DIGEST, None)
        if digest is None and not seal and unsealed:
            return frame
        matches = digest == _rows_digest(frame, seal)
    except Exception as error:  # damaged bytes can make a reader fail in any way
        raise damaged(path, _first_line(error), fix) from None
    if not matches:
        raise damaged(path, "its rows do not match their digest", fix)
    expect(path, seal, facts, fix)
    return frame


def _rows_digest(frame: pd.DataFrame, facts: Facts) -> str:
    digest = hashlib.sha256(_facts_digest(facts).encode())
    for name, column in frame.items():
        values = column.to_numpy()
        if values.dtype.kind in "biuf":
            digest.update(f"\n{name} {values.dtype.str}\n".encode())
            digest.update(_contiguous(values).data)
        else:
            codes, texts = pd.factorize(column)
            digest.update(f"\n{name} {json.dumps([str(text) for text in texts])}\n".encode())
            digest.update(codes.astype(np.int64).data)
    return digest.hexdigest()


# -- anything else: a line of facts before the content ----------------------------------------------------------------


def pack(content: bytes, facts: Facts) -> bytes:
    """``content`` behind a line of facts and its digest."""
    seal = dict(facts)
    seal[_DIGEST] = _content_digest(content, seal)
    return _MAGIC + json.dumps(seal).encode() + b"\n" + content


def unpack(path: Path, facts: Facts, fix: str) -> bytes:
    """The content of a file from :func:`pack`, if it states the wanted facts."""
    whole = read_bytes(path, fix)
    line, _, content = whole[len(_MAGIC) :].partition(b"\n")
    try:
        seal = json.loads(line) if whole.startswith(_MAGIC) else {}
        digest = seal.pop(_DIGEST, None)
    except (ValueError, AttributeError):
        seal, digest = {}, None
    if digest is None:
        raise damaged(path, "it does not begin as such a file does", fix)
    if digest != _content_digest(content, seal):
        raise damaged(path, "its content does not match its digest", fix)
    expect(path, seal, facts, fix)
    return content


def sealed_json(values: Mapping[str, object]) -> str:
    """One JSON object, readable, with a digest of its other values."""
    return json.dumps({**values, _DIGEST: _json_digest(values)}, indent=1)


def read_json(path: Path, fix: str) -> dict[str, object]:
    """What :func:`sealed_json` wrote."""
    try:
        values: dict[str, object] = json.loads(read_bytes(path, fix))
        digest = values.pop(_DIGEST, None)
    except (ValueError, AttributeError, TypeError):
        raise damaged(path, "it is no JSON object", fix) from None
    if digest != _json_digest(values):
        raise damaged(path, "it does not match its digest", fix)
    return values


# -- arrays in a folder, to be mapped into memory ----------------------------------------------------------------------

MANIFEST = "manifest.json"
_verdicts: dict[tuple[str, int, int, str], bool] = {}
"""What was read, by path, time, size and expected digest: a file is not read again in a process until it changes."""


def write_arrays(folder: Path, arrays: Mapping[str, np.ndarray], facts: Facts) -> None:
    """One ``NAME.npy`` for each array, then the manifest: the facts and a digest of each file."""
    digests = {}
    for name, array in arrays.items():
        out = BytesIO()
        np.save(out, array, allow_pickle=False)
        digests[name] = hashlib.sha256(out.getvalue()).hexdigest()
        atomic.write(folder / f"{name}.npy", out.getvalue())
    atomic.write(folder / MANIFEST, sealed_json({"facts": dict(facts), "sha256": digests}))


def map_arrays(folder: Path, names: Iterable[str], fix: str, facts: Facts | None = None) -> dict[str, np.ndarray]:
    """These arrays of a folder from :func:`write_arrays`, mapped read-only, after a check of their files."""
    check_arrays(folder, fix, facts, names)
    try:
        return {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in names}
    except (OSError, ValueError) as error:
        raise damaged(folder, _first_line(error), fix) from None


def check_arrays(folder: Path, fix: str, facts: Facts | None = None, names: Iterable[str] | None = None) -> None:
    """Raise :class:`Damaged` unless the files of these arrays (all of them) are as they were written."""
    manifest = read_json(folder / MANIFEST, fix)
    stated, digests = manifest.get("facts"), manifest.get("sha256")
    if not isinstance(stated, dict) or not isinstance(digests, dict):
        raise damaged(folder / MANIFEST, "it lists no files", fix)
    expect(folder / MANIFEST, stated, facts or {}, fix)
    for name in digests if names is None else names:
        path = folder / f"{name}.npy"
        if name not in digests:
            raise damaged(folder / MANIFEST, f"it does not list {path.name}", fix)
        if not _unchanged(path, digests[name], fix):
            raise damaged(path, "it does not match its digest", fix)


def _unchanged(path: Path, digest: str, fix: str) -> bool:
    try:
        stat = path.stat()
        key = (str(path), stat.st_mtime_ns, stat.st_size, digest)
        if key not in _verdicts:
            with path.open("rb") as file:
                _verdicts[key] = hashlib.file_digest(file, "sha256").hexdigest() == digest
    except FileNotFoundError:
        raise Damaged(f"{path} is missing; {fix}") from None
    except OSError as error:
        raise atomic.explain(error, path) from error
    return _verdicts[key]


# -- digests -----------------------------------------------------------------------------------------------------------


def _facts_digest(facts: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(dict(facts), sort_keys=True).encode()).hexdigest()


def _content_digest(content: bytes, facts: Facts) -> str:
    digest = hashlib.sha256(_facts_digest(facts).encode())
    digest.update(content)
    return digest.hexdigest()


def _json_digest(values: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(dict(values), sort_keys=True).encode()).hexdigest()


def _array_digest(array: np.ndarray) -> str:
    digest = hashlib.sha256(f"{array.dtype.str} {array.shape}\n".encode())
    digest.update(_contiguous(array).reshape(-1).data)
    return digest.hexdigest()


def _contiguous(array: np.ndarray) -> np.ndarray:
    return array if array.flags.c_contiguous else array.copy(order="C")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
