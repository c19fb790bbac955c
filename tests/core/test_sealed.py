"""What is not exactly what was written is not believed: every single flipped bit, every cut, every wrong file."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from core import sealed
from core.errors import Damaged

FACTS = {"kind": "thing", "seed": "3"}
ARRAYS = {
    "weights": np.arange(6, dtype=np.float32).reshape(2, 3),
    "scalar": np.array(2.5),
    "flags": np.array([True, False]),
    "empty": np.zeros((0, 4), dtype=np.int64),
}
FRAME = pd.DataFrame(
    {
        "device": np.array([0, 1, 2], dtype=np.int32),
        "ndcg": [0.25, np.nan, -0.0],
        "served": [True, False, True],
        "tier": ["low", "high", "low"],
        "budget": [np.inf, 1.0, 2.0],
    }
)


def read_tensors(path: Path) -> object:
    facts, arrays = sealed.read_tensors(path, "mend it")
    sealed.expect(path, facts, FACTS, "mend it")
    return sorted((name, array.dtype.str, array.shape, array.tobytes()) for name, array in arrays.items())


READERS: dict[str, tuple[bytes, Callable[[Path], object]]] = {
    "tensors": (sealed.pack_tensors(ARRAYS, FACTS), read_tensors),
    "content": (sealed.pack(b"anything\nat all", FACTS), lambda path: sealed.unpack(path, FACTS, "mend it")),
    "json": (
        sealed.sealed_json({**FACTS, "parameters": [0.1, float("inf")]}).encode(),
        lambda path: json.dumps(sealed.read_json(path, "mend it")),
    ),
}


@pytest.mark.parametrize("kind", READERS)
def test_every_flipped_bit_and_every_cut_is_found_or_changes_nothing(kind: str, tmp_path: Path) -> None:
    content, read = READERS[kind]
    path = tmp_path / "file"
    path.write_bytes(content)
    whole = read(path)
    harmless: list[int] = []
    lines: set[str] = set()
    for bit in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            found = read(path)
        except Damaged as error:
            lines.add(str(error))
            continue
        assert found == whole
        harmless.append(bit // 8)
    assert all(line.endswith("; mend it") and "\n" not in line for line in lines)
    assert len(harmless) <= (0 if kind != "json" else 60)  # white space between JSON's values
    for end in range(len(content)):
        path.write_bytes(content[:end])
        with pytest.raises(Damaged):
            read(path)
    path.unlink()
    with pytest.raises(Damaged, match="is missing; mend it"):
        read(path)


def test_rows_are_plain_parquet_and_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    path.write_bytes(sealed.pack_rows(FRAME, FACTS))
    assert pd.read_parquet(path).equals(FRAME)
    assert sealed.read_rows(path, FACTS, "mend it").equals(FRAME)
    FRAME.to_parquet(tmp_path / "plain.parquet", index=False)
    assert pd.read_parquet(path).dtypes.equals(pd.read_parquet(tmp_path / "plain.parquet").dtypes)


def test_rows_that_a_flipped_bit_changes_are_never_given(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    content = sealed.pack_rows(FRAME, FACTS)
    found = 0
    bits = range(0, 8 * len(content), 8 * len(content) // 60)
    for bit in bits:
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            rows = sealed.read_rows(path, FACTS, "mend it")
        except Damaged:
            found += 1
            continue
        assert rows.equals(FRAME)
    assert found > len(bits) / 4
    for end in range(0, len(content), len(content) // 6):
        path.write_bytes(content[:end])
        with pytest.raises(Damaged):
            sealed.read_rows(path, FACTS, "mend it")


def test_changed_rows_and_rows_without_a_seal_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    path.write_bytes(sealed.pack_rows(FRAME, FACTS))
    table = pq.read_table(path)
    better = table.set_column(1, "ndcg", [[1.0, 1.0, 1.0]])
    pq.write_table(better.replace_schema_metadata(table.schema.metadata), path)
    with pytest.raises(Damaged, match="do not match their digest"):
        sealed.read_rows(path, FACTS, "mend it")
    FRAME.to_parquet(path)
    with pytest.raises(Damaged, match="do not match their digest"):
        sealed.read_rows(path, FACTS, "mend it")
    assert sealed.read_rows(path, {}, "mend it", unsealed=True).equals(FRAME)


@pytest.mark.parametrize(("name", "value"), [("kind", "other"), ("seed", "4")])
def test_a_file_of_something_else_is_refused_by_name(name: str, value: str, tmp_path: Path) -> None:
    other = {**FACTS, name: value}
    path = tmp_path / "file"
    line = f"is not the right file: its {name} is {value}, not {FACTS[name]}; mend it"
    for content, read in (
        (sealed.pack_tensors(ARRAYS, other), read_tensors),
        (sealed.pack(b"x", other), lambda path: sealed.unpack(path, FACTS, "mend it")),
        (sealed.pack_rows(FRAME, other), lambda path: sealed.read_rows(path, FACTS, "mend it")),
    ):
        path.write_bytes(content)
        with pytest.raises(Damaged, match=line):
            read(path)


def test_only_what_is_wanted_is_read_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "file"
    content = bytearray(sealed.pack_tensors(ARRAYS, FACTS))
    content[content.rindex(ARRAYS["weights"].tobytes()) + 5] ^= 1
    path.write_bytes(content)
    _, arrays = sealed.read_tensors(path, "", lambda name: name == "flags")
    assert list(arrays) == ["flags"]
    with pytest.raises(Damaged, match="weights does not match its digest"):
        sealed.read_tensors(path, "")


def test_a_safetensors_file_without_digests_is_refused_and_ours_is_read_by_others(tmp_path: Path) -> None:
    path = tmp_path / "file"
    save_file(ARRAYS, path, {"kind": "thing"})
    with pytest.raises(Damaged, match="header does not match"):
        sealed.read_tensors(path, "")
    path.write_bytes(sealed.pack_tensors(ARRAYS, FACTS))
    with safe_open(path, "np") as file:
        assert file.get_tensor("weights").tolist() == [[0, 1, 2], [3, 4, 5]]
        assert file.get_tensor("scalar").shape == ()


def test_arrays_of_a_folder_are_checked_once_until_they_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sealed.write_arrays(tmp_path, {"items": np.arange(9), "offsets": np.array([0, 9])}, {"run": "abc"})
    assert sealed.map_arrays(tmp_path, ["items"], "", {"run": "abc"})["items"].tolist() == list(range(9))
    with pytest.raises(Damaged, match=r"manifest\.json is not the right file: its run is abc, not other"):
        sealed.check_arrays(tmp_path, "", {"run": "other"})
    with monkeypatch.context() as patch:
        patch.setattr(sealed.hashlib, "file_digest", lambda *args: pytest.fail("read again"))
        sealed.check_arrays(tmp_path, "", names=["items"])
    whole = (tmp_path / "items.npy").read_bytes()
    for content, why in ((b"", "does not match"), (whole[:-1], "does not match"), (whole[:-1] + b"\1", "not match")):
        (tmp_path / "items.npy").write_bytes(content)
        with pytest.raises(Damaged, match=why):
            sealed.map_arrays(tmp_path, ["items"], "")
    (tmp_path / "items.npy").unlink()
    with pytest.raises(Damaged, match=r"items\.npy is missing"):
        sealed.check_arrays(tmp_path, "")
    sealed.check_arrays(tmp_path, "", names=["offsets"])
