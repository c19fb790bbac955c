"""Every mistake in a table is named by its line and its whole fix."""

import gzip
import lzma
from pathlib import Path

import pytest

from core.errors import UserError
from sim.data import load
from sim.data.raw import Raw
from sim.data.table import Extra, read_rows
from tests.support.tables import BEGIN, PLACES, message, text, write


def test_no_time_at_all(tmp_path: Path) -> None:
    assert "No column looks like a time" in message(write(tmp_path, "user,item,rating\na,b,4\nc,d,5\n"))
    assert "three columns" in message(write(tmp_path, "user,item\na,b\n"))
    assert "three columns" in message(write(tmp_path, "1 2\n1 3\n", "Video.txt"))


@pytest.mark.parametrize(
    "time", ["yesterday", "", "nan", "inf", "1e30", "2001-01-01", "9" * 5000, "1,5", "--1", "0x10"]
)
@pytest.mark.parametrize("number", [3, 9])
def test_a_bad_time_is_reported_by_its_line(tmp_path: Path, time: str, number: int) -> None:
    lines = ["user,item,timestamp"] + [f"u{n},i,{BEGIN + n}" for n in range(2, 12)]
    lines[number - 1] = f'u,i,"{time}"'
    found = message(write(tmp_path, "\n".join(lines)))
    assert f"shop.csv line {number}: expected a time in seconds, as the first row has it ('1600000002'), found" in found
    assert len(found) < 400
    assert ("ISO 8601 without a zone" in found) == (time == "2001-01-01")


def test_a_bad_time_in_the_first_row(tmp_path: Path) -> None:
    content = f"user,item,timestamp\na,b,yesterday\na,c,{BEGIN}\n"
    assert "line 2: expected a time (a number since 1970, or ISO 8601), found 'yesterday'" in message(
        write(tmp_path, content)
    )


@pytest.mark.parametrize(
    ("odd", "looks"),
    [
        ("1600000002000", "looks like milliseconds"),
        ("1600000002.5e6", "looks like microseconds"),
        ("2020-09-13T12:26:42Z", "looks like ISO 8601 with a zone"),
    ],
)
def test_two_units_in_one_column_are_refused(odd: str, looks: str, tmp_path: Path) -> None:
    content = f"user,item,timestamp\na,b,{BEGIN}\na,c,{BEGIN + 1}\na,d,{odd}\n"
    found = message(write(tmp_path, content))
    assert "line 4: expected a time in seconds" in found
    assert looks in found
    swapped = f"user,item,timestamp\na,d,{odd}\na,b,{BEGIN}\n"
    assert "line 3" in message(write(tmp_path, swapped))


def test_zones_in_some_rows_are_refused(tmp_path: Path) -> None:
    content = "user,item,time\na,b,2020-01-01T00:00:00Z\na,c,2020-01-01T00:00:00\n"
    assert "line 3: expected a time in ISO 8601 with a zone" in message(write(tmp_path, content))


def test_a_day_that_the_calendar_does_not_have(tmp_path: Path) -> None:
    content = "user,item,time\na,b,2020-02-28\na,c,2020-02-30\n"
    assert "line 3: expected a time in ISO 8601 without a zone" in message(write(tmp_path, content))


def test_a_decimal_comma_is_none_where_commas_separate(tmp_path: Path) -> None:
    content = 'user,item,timestamp\na,b,"1600000000,5"\n'
    assert "line 2: expected a time" in message(write(tmp_path, content))


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("a,b", "line 3: expected 3 fields, found 2"),
        ("a,b,1,2", "line 3: expected 3 fields, found 4"),
        (",b,1", "line 3: the user is empty"),
        ("a, ,1", "line 3: the item is empty"),
        ('a,"b,1', "line 3: not a record"),
    ],
)
def test_a_bad_row_is_reported_by_its_line(tmp_path: Path, row: str, complaint: str) -> None:
    assert complaint in message(write(tmp_path, f"user,item,timestamp\nx,y,1\n{row}\nx,y,2\n"))


@pytest.mark.parametrize(
    ("row", "fields"), [("1::2::3", 3), ("1::2::3::4::5", 5), ("1:2::3::4::5", 4), ("1::2:x::3::4", 4)]
)
def test_a_bad_row_of_double_colons(row: str, fields: int, tmp_path: Path) -> None:
    path = write(tmp_path, f"user::item::rating::time\n1::2::3::4\n{row}\n1::2::3::4\n", "r.dat")
    if fields == 4:
        assert str(path) in message(path)  # a colon within a field
    else:
        assert f"line 3: expected 4 fields, found {fields}" in message(path)


def test_lines_are_counted_through_blank_lines_and_quoted_line_breaks(tmp_path: Path) -> None:
    content = 'user,item,timestamp\n\na,"two\nlines",1\nb,"three\n\nlines",x\n'
    assert "line 5: expected a time" in message(write(tmp_path, content))


def test_text_that_is_not_utf8_is_reported_by_its_line(tmp_path: Path) -> None:
    content = "user,item,timestamp\na,tea,1\na,café,2\n".encode("latin-1")
    assert "line 3: not UTF-8" in message(write(tmp_path, content))


def test_files_without_rows(tmp_path: Path) -> None:
    assert "is empty" in message(write(tmp_path, ""))
    assert "is empty" in message(write(tmp_path, "\n \n"))
    assert "is empty: it has no interaction" in message(write(tmp_path, "user,item,timestamp\n"))
    assert "is empty: it has no interaction" in message(write(tmp_path, "user,item,timestamp"))


def test_missing_file(tmp_path: Path) -> None:
    assert "does not exist" in message(tmp_path / "gone.csv")
    (tmp_path / "folder.csv").mkdir()
    assert "cannot be read" in message(tmp_path / "folder.csv")


@pytest.mark.parametrize("suffix", [".csv.gz", ".csv.xz"])
def test_damaged_compression(tmp_path: Path, suffix: str) -> None:
    whole = gzip.compress(text()) if suffix == ".csv.gz" else lzma.compress(text())
    assert "may be damaged or cut short" in message(write(tmp_path, whole[:-20], f"a{suffix}"))
    assert "may be damaged or cut short" in message(write(tmp_path, text(), f"b{suffix}"))


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"PK\x03\x04rest", "a zip archive"),
        (b"PAR1rest", "a Parquet file"),
        ("user,item,timestamp\n".encode("utf-16"), "UTF-16"),
        (b'{"user": "a"}\n', "JSON"),
        (b"<html>", "HTML"),
        (gzip.compress(b'{"user": "a"}\n', mtime=0), "JSON"),
    ],
)
def test_other_kinds_of_file_are_called_by_their_name(content: bytes, kind: str, tmp_path: Path) -> None:
    assert kind in message(write(tmp_path, content))


@pytest.mark.parametrize("digit", ["7", "0"])
def test_an_id_of_five_thousand_digits(digit: str, tmp_path: Path) -> None:
    long = digit * 5000
    rows = f"user,item,timestamp\n{long},1,{BEGIN}\n2,{long},{BEGIN}\n2,1,{BEGIN + 1}\n"
    data = load(str(write(tmp_path, rows)))
    in_order = ["2", long] if digit == "7" else [long, "2"]
    assert data.user_ids == in_order  # by the number
    assert data.item_ids == ["", *(["1", long] if digit == "7" else [long, "1"])]


def test_a_file_is_called_by_its_name_with_the_suffix(tmp_path: Path) -> None:
    assert load(str(write(tmp_path, text(), "ml1m.csv"))).name == "ml1m.csv"


# -- formats that a loader knows -----------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", ["x", "", "nan", "inf"])
def test_a_number_that_is_none(bad: str) -> None:
    with pytest.raises(UserError, match="x line 2: expected a number"):
        read_rows(Raw("x", f"x,a,4.5,3\nx,a,{bad},3\n".encode()), PLACES, Extra(number=2))
