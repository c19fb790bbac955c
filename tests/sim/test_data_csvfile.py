"""Any CSV of interactions: columns, compression, and the line of every mistake."""

import gzip
import lzma
from pathlib import Path

import pytest

from core.errors import UserError
from sim.data import load
from sim.data.csvfile import UNKNOWN_TIME, read_rows

ROWS = "rating,item,user,timestamp\n5,tea,ann,30\n4,milk,bob,20.9\n3,milk,ann,10\n"


def write(folder: Path, text: str | bytes, name: str = "shop.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def message(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        load(str(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".csv.xz"])
def test_columns_are_found_by_name_in_any_order_and_compression(tmp_path: Path, suffix: str) -> None:
    packed = {
        ".csv": ROWS.encode(),
        ".csv.gz": gzip.compress(ROWS.encode()),
        ".csv.xz": lzma.compress(ROWS.encode()),
    }
    data = load(str(write(tmp_path, packed[suffix], f"shop{suffix}")))
    assert data.name == "shop"
    assert data.user_ids == ["ann", "bob"]
    assert data.item_titles == ["", "milk", "tea"]
    assert data.items.tolist() == [1, 2, 1]
    assert data.times.tolist() == [10, 30, 20]
    assert data.genres.shape == (3, 0)


def test_byte_order_mark_quotes_blanks_and_windows_lines(tmp_path: Path) -> None:
    text = '\ufeffuser, item,timestamp\r\n"ann",  "a ""b""",1\r\n\r\n bob ,x,2\r\n'
    data = load(str(write(tmp_path, text)))
    assert data.user_ids == ["ann", "bob"]
    assert data.num_interactions == 2


def test_missing_columns_are_named_with_those_there_are(tmp_path: Path) -> None:
    text = message(write(tmp_path, "user_id,item,when\na,b,1\n"))
    assert "has no columns user, timestamp; its header names user_id, item, when" in text


@pytest.mark.parametrize("time", ["yesterday", "", "nan", "inf", "1e30", "2001-01-01", "978300760000"])
@pytest.mark.parametrize("number", [2, 3, 9])
def test_a_bad_timestamp_is_reported_by_its_line(tmp_path: Path, time: str, number: int) -> None:
    lines = ["user,item,timestamp"] + [f"u{n},i,{n}" for n in range(2, 12)]
    lines[number - 1] = f"u,i,{time}"
    text = message(write(tmp_path, "\n".join(lines)))
    assert f"shop.csv line {number}: expected a timestamp in seconds since 1970, found {time!r}" in text
    assert ("milliseconds" in text) == (time == "978300760000")


def test_lines_are_counted_through_blank_lines_and_quoted_line_breaks(tmp_path: Path) -> None:
    text = 'user,item,timestamp\n\na,"two\nlines",1\nb,"three\n\nlines",x\n'
    assert "line 5: expected a timestamp" in message(write(tmp_path, text))


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("a,b", "line 3: expected 3 fields, found 2"),
        ("a,b,1,2", "line 3: expected 3 fields, found 4"),
        (",b,1", "line 3: the user is empty"),
        ("a,,1", "line 3: the item is empty"),
        ('a,"b,1', "line 3: not a CSV record"),
    ],
)
def test_a_bad_row_is_reported_by_its_line(tmp_path: Path, row: str, complaint: str) -> None:
    assert complaint in message(write(tmp_path, f"user,item,timestamp\nx,y,1\n{row}\nx,y,2\n"))


def test_text_that_is_not_utf8_is_reported_by_its_line(tmp_path: Path) -> None:
    text = "user,item,timestamp\na,tea,1\na,café,2\n".encode("latin-1")
    assert "line 3: not UTF-8" in message(write(tmp_path, text))


def test_files_without_rows(tmp_path: Path) -> None:
    assert "is empty" in message(write(tmp_path, ""))
    assert "is empty" in message(write(tmp_path, "\n \n"))
    assert "is empty: it has no interaction" in message(write(tmp_path, "user,item,timestamp\n"))


def test_missing_file(tmp_path: Path) -> None:
    assert "does not exist" in message(tmp_path / "gone.csv")


@pytest.mark.parametrize("suffix", [".csv.gz", ".csv.xz"])
def test_damaged_compression(tmp_path: Path, suffix: str) -> None:
    content = ROWS.encode() * 50
    whole = gzip.compress(content) if suffix == ".csv.gz" else lzma.compress(content)
    assert "may be damaged or cut short" in message(write(tmp_path, whole[:-20], f"a{suffix}"))
    assert "may be damaged or cut short" in message(write(tmp_path, ROWS, f"b{suffix}"))


def test_without_a_header_columns_go_by_their_place(tmp_path: Path) -> None:
    path = write(tmp_path, "tea,ann,5.0,30\nmilk,bob,4.0,20\n")
    rows = read_rows(path, columns=(1, 0, 3))
    assert (rows.user_ids, rows.item_ids) == (["ann", "bob"], ["tea", "milk"])
    assert rows.times.tolist() == [30, 20]
    with pytest.raises(UserError, match="line 1: expected 5 fields, found 4"):
        read_rows(path, columns=(1, 0, 4))
    with pytest.raises(UserError, match="line 2: expected 4 fields, found 3"):
        read_rows(write(tmp_path, "tea,ann,5.0,30\nmilk,bob,4.0\n"), columns=(1, 0, 3))


def test_positions_and_empty_timestamps(tmp_path: Path) -> None:
    header = ("u", "i", "t", "p")
    rows = read_rows(write(tmp_path, "u,i,p,t\na,x,1,\na,y,0,5\n"), header=header, time_may_be_empty=True)
    assert rows.times.tolist() == [UNKNOWN_TIME, 5]
    assert rows.positions.tolist() == [1, 0]
    with pytest.raises(UserError, match="line 2: expected a position"):
        read_rows(write(tmp_path, "u,i,p,t\na,x,first,3\n"), header=header)
