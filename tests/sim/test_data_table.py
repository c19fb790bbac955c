"""Any table of interactions: its form is told by the file, and every mistake by its line and its whole fix."""

import csv
import gzip
import io
import lzma
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from core.errors import UserError
from core.seeds import numpy_generator
from sim.data import load, table
from sim.data.columns import Columns, parse_option
from sim.data.interactions import Interactions, build_interactions
from sim.data.raw import Raw
from sim.data.table import Extra, read_rows
from sim.data.times import MICROSECONDS, UNKNOWN_TIME

Row = tuple[int, int, int]
BEGIN = 1_600_000_000


def baseline() -> list[Row]:
    """(user, item, second): twelve users, eleven rows each, unique times, in no order."""
    rows = [(user, (7 * user + 5 * place) % 13 + 1, BEGIN + 977 * ((user * 31 + place * 47) % 401))
            for place in range(11) for user in range(12, 0, -1)]  # fmt: skip
    assert len({second for _, _, second in rows}) == len(rows)
    return rows


def expected(user: str = "u", item: str = "i") -> Interactions:
    """The baseline with these letters before the numbers, ordered by plain Python."""
    rows = sorted(baseline(), key=lambda row: (row[0], row[2]))
    users, items = sorted({row[0] for row in rows}), sorted({row[1] for row in rows})
    return Interactions(
        name="baseline",
        offsets=np.arange(0, len(rows) + 1, 11),
        items=np.array([items.index(row[1]) + 1 for row in rows], dtype=np.int32),
        times=np.array([row[2] for row in rows]),
        user_ids=[f"{user}{number}" for number in users],
        item_ids=["", *(f"{item}{number}" for number in items)],
        item_titles=["", *(f"{item}{number}" for number in items)],
        genre_names=[],
        genres=np.zeros((len(items) + 1, 0), dtype=bool),
        change_points=np.full(len(users), -1),
    )


def text(
    header: str = "user,item,timestamp",
    line: str = "u{user},i{item},{second}",
    time: Callable[[int], object] = int,
    end: str = "\n",
) -> bytes:
    """The baseline as a file; ``time`` writes a second."""
    lines = [header] if header else []
    lines += [line.format(user=user, item=item, second=time(second)) for user, item, second in baseline()]
    return (end.join(lines) + end).encode()


def iso(second: int, zone: timezone = UTC) -> str:
    return datetime.fromtimestamp(second, zone).isoformat()


def write(folder: Path, content: str | bytes, name: str = "shop.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def message(path: Path, columns: str | None = None) -> str:
    with pytest.raises(UserError) as caught:
        load(str(path), columns=columns)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


SEMICOLON = text("user;item;timestamp", "u{user};i{item};{second},5")
LETTERS: dict[str, tuple[str, bytes, str | None]] = {  # form: file name, content, --columns
    "baseline": ("a.csv", text(), None),
    "header in another case": ("a.csv", text("User,ITEM,Timestamp"), None),
    "spaces in the header": ("a.csv", text(" user, item , timestamp"), None),
    "typed header, tab": ("a.inter", text("user_id:token\titem_id:token\trating:float\ttimestamp:float",
                                           "u{user}\ti{item}\t4\t{second}"), None),
    "tab": ("a.csv", text("user\titem\ttimestamp", "u{user}\ti{item}\t{second}"), None),
    "semicolon, decimal comma": ("a.txt", SEMICOLON, None),
    "double colon with a header": ("a.dat", text("user::item::time", "u{user}::i{item}::{second}"), None),
    "packed with gzip": ("a.tsv.gz", gzip.compress(text()), None),
    "packed with xz": ("a.inter.xz", lzma.compress(text()), None),
    "gzip by its bytes": ("a.csv", gzip.compress(text()), None),
    "xz by its bytes": ("a.dat", lzma.compress(text()), None),
    "suffix in capitals": ("A.CSV", text(), None),
    "byte order mark": ("a.csv", b"\xef\xbb\xbf" + text(), None),
    "Windows lines": ("a.csv", text(end="\r\n"), None),
    "Macintosh lines": ("a.csv", text(end="\r"), None),
    "no line end at the end": ("a.csv", text().rstrip(), None),
    "blank lines": ("a.csv", b"\n" + text(end="\n\n"), None),
    "quotes": ("a.csv", text(line='"u{user}","i{item}","{second}"'), None),
    "blanks around the fields": ("a.csv", text(line=" u{user} ,i{item} , {second}"), None),
    "a quoted line break beside": ("a.csv", text("user,review,item,timestamp",
                                              'u{user},"good,\nvery ""good""",i{item},{second}'), None),
    "other order and columns": ("a.csv", text("rating,timestamp,item,user", "5,{second},i{item},u{user}"), None),
    "index column without a name": ("a.csv", text(",user,item,timestamp", "0,u{user},i{item},{second}"), None),
    "Amazon 2014 names": ("a.csv", text("reviewerID,asin,overall,unixReviewTime",
                                        "u{user},i{item},5.0,{second}"), None),
    "Amazon 2023 names": ("a.csv", text("user_id,parent_asin,rating,timestamp", "u{user},i{item},5.0,{second}",
                                        lambda s: s * 1000 + 76), None),
    "named columns": ("a.csv", text("who,what,when", "u{user},i{item},{second}"), "user=who,item=what,time=when"),
    "one named column": ("a.csv", text("user,what,time", "u{user},i{item},{second}"), "item=what"),
    "typed column, named without": ("a.csv", text("a:token,b:token,c:float"), "user=a,item=b,time=c"),
    "indices and a header": ("a.csv", text("a,a,a"), "user=0,item=1,time=2"),
    "numbers as a header": ("a.csv", text("0,1,2"), "user=0,item=1,time=2"),
    "no header, item first": ("a.csv", text("", "i{item},u{user},5.0,{second}"), "user=1,item=0,time=3"),
    "no header, semicolon": ("a.csv", text("", "u{user};i{item};{second},25"), "user=0,item=1,time=2"),
    "fractions": ("a.csv", text(time=lambda s: f"{s}.75"), None),
    "fractions in some rows": ("a.csv", text(time=lambda s: s if s % 2 else f"{s}.25"), None),
    "exponents": ("a.csv", text(time=lambda s: f"{s / 1e9:.9f}E9"), None),
    "milliseconds": ("a.csv", text(time=lambda s: s * 1000 + 999), None),
    "microseconds": ("a.csv", text(time=lambda s: s * 10**6 + 999_999), None),
    "nanoseconds": ("a.csv", text(time=lambda s: s * 10**9 + 999_999_999), None),
    "milliseconds with a fraction": ("a.csv", text(time=lambda s: f"{s}250.5"), None),
    "ISO with Z": ("a.csv", text(time=lambda s: iso(s).replace("+00:00", "Z")), None),
    "ISO with an offset": ("a.csv", text(time=lambda s: iso(s, timezone(timedelta(hours=5.5)))), None),
    "ISO with a fraction": ("a.csv", text(time=lambda s: iso(s).replace("+00:00", ".123456Z")), None),
    "ISO without a zone": ("a.csv", text(time=lambda s: iso(s)[:-6].replace("T", " ")), None),
}  # fmt: skip
NUMBERS: dict[str, tuple[str, bytes, str | None]] = {
    "MovieLens names": ("ratings.csv", text("userId,movieId,rating,timestamp", "{user},{item},4.0,{second}"), None),
    "MovieLens double colon": ("ratings.dat", text("", "{user}::{item}::4::{second}"), "user=0,item=1,time=3"),
    "numbers": ("a.csv", text(line="{user},{item},{second}"), None),
}


@pytest.mark.parametrize("form", [*LETTERS, *NUMBERS])
def test_every_form_gives_the_same_interactions(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, content, columns = LETTERS.get(form) or NUMBERS[form]
    wanted = expected() if form in LETTERS else expected("", "")
    path = str(write(tmp_path, content, name))
    data = load(path, columns=columns)
    assert data.digest() == wanted.digest()
    assert data.name == name
    monkeypatch.setattr(table, "_BLOCK", 200)  # bytes: many blocks, each with a dictionary of ids of its own
    assert load(path, columns=columns).digest() == wanted.digest()


def test_numbering_is_the_same_with_and_without_letters_before_the_numbers() -> None:
    with_letters, without = expected(), expected("", "")
    rows = np.array(baseline())
    built = build_interactions("x", rows[:, 0], rows[:, 1], rows[:, 2], [f"u{n}" for n in range(13)],
                               [f"i{n}" for n in range(14)])  # fmt: skip
    assert built.digest() == with_letters.digest()  # u2 comes before u10
    assert without.items.tolist() == built.items.tolist()


@pytest.mark.parametrize(
    ("form", "notes"),
    [
        (
            "header in another case",
            [
                "columns: user = User, item = ITEM, time = Timestamp; separator: comma",
                "times: seconds since 1970, from 2020-09-13 to 2020-09-17",
            ],
        ),
        (
            "typed header, tab",
            [
                "columns: user = user_id:token, item = item_id:token, time = timestamp:float; separator: tab",
                "times: seconds since 1970, from 2020-09-13 to 2020-09-17",
            ],
        ),
        (
            "no header, item first",
            [
                "columns: user = 1, item = 0, time = 3; separator: comma; no header",
                "times: seconds since 1970, from 2020-09-13 to 2020-09-17",
            ],
        ),
        (
            "gzip by its bytes",
            [
                "columns: user = user, item = item, time = timestamp; separator: comma",
                "times: seconds since 1970, from 2020-09-13 to 2020-09-17",
                "compression: gzip, told by the bytes of a.csv",
            ],
        ),
    ],
)
def test_what_was_told_is_said(form: str, notes: list[str], tmp_path: Path) -> None:
    name, content, columns = LETTERS[form]
    assert list(load(str(write(tmp_path, content, name)), columns=columns).notes) == notes


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ("milliseconds", "milliseconds since 1970"),
        ("microseconds", "microseconds since 1970"),
        ("nanoseconds", "nanoseconds since 1970"),
        ("fractions", "seconds since 1970"),
        ("ISO with Z", "ISO 8601 with a zone"),
        ("ISO without a zone", "ISO 8601 without a zone, taken as UTC"),
    ],
)
def test_the_unit_of_time_is_said(form: str, told: str, tmp_path: Path) -> None:
    name, content, columns = LETTERS[form]
    assert load(str(write(tmp_path, content, name)), columns=columns).notes[1] == (
        f"times: {told}, from 2020-09-13 to 2020-09-17"
    )


# -- order ---------------------------------------------------------------------------------------------------------


def test_rows_of_one_second_are_ordered_by_its_fraction_and_are_no_tie(tmp_path: Path) -> None:
    rows = "user,item,timestamp\na,x,1600000000900\na,y,1600000000100\na,z,1600000000100\n"
    data = load(str(write(tmp_path, rows)))
    assert [data.item_ids[item] for item in data.items] == ["y", "z", "x"]
    assert data.times.tolist() == [BEGIN] * 3
    assert data.tied().tolist() == [False, True, False]  # y and z: the file's order


def test_ties_are_shuffled_by_the_seed_within_a_user_and_a_time(tmp_path: Path) -> None:
    rows = [f"{user},i{item},{BEGIN + 100 * (item // 8)}" for user in "ab" for item in range(24)]
    path = str(write(tmp_path, "\n".join(["user,item,timestamp", *rows])))
    plain, first, again, other = (
        load(path, ties=t, seed=s) for t, s in (("file", 0), *[("shuffled", k) for k in (0, 0, 1)])
    )
    assert first.items.tolist() == again.items.tolist()
    assert len({tuple(data.items.tolist()) for data in (plain, first, other)}) == 3
    for data in (first, other):
        assert data.times.tolist() == plain.times.tolist()
        for start in range(0, 48, 8):  # a user's rows of one time stay together
            assert sorted(data.items[start : start + 8]) == sorted(plain.items[start : start + 8])
    assert first.items.tolist() == plain.shuffle_ties(numpy_generator(0, "ties")).items.tolist()


def test_without_ties_there_is_nothing_to_shuffle(tmp_path: Path) -> None:
    path = str(write(tmp_path, text()))
    assert load(path, ties="shuffled", seed=3).digest() == load(path).digest()


def test_every_order_of_three_ties_is_as_likely() -> None:
    data = build_interactions("x", np.zeros(3, int), np.arange(3), np.zeros(3, int), ["a"], ["x", "y", "z"])
    random = np.random.default_rng(0)
    orders = [tuple(data.shuffle_ties(random).items.tolist()) for _ in range(3000)]
    counts = [orders.count(order) for order in set(orders)]
    assert len(counts) == 6
    assert min(counts) > 400  # 500 each, deviation 20


# -- what cannot be told -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "fix", "words"),
    [
        ("a.csv", text("", "i{item},u{user},5.0,{second}"), "user=1,item=0,time=3", "has no header"),
        ("a.csv", text("", "u{user},i{item},{second}"), "user=0,item=1,time=2", "'u12,i"),
        ("a.csv", text("", "{second},u{user},i{item}", iso), "user=1,item=2,time=0", "has no header"),
        ("a.csv", text("", "A10000000000{user},B0000000{item:02d},{second}"), "user=0,item=1,time=2", ""),
        ("a.csv", text("", "B0000000{item:02d},A10000000000{user},{second}"), "user=1,item=0,time=2", ""),
        ("r.dat", text("", "{user}::{item}::4::{second}"), "user=0,item=1,time=3", "--dataset ml1m"),
        ("a.csv", text("user,item,timestamp,timestamp", "u{user},i{item},{second},7"), "user=0,item=1,time=2",
         "two columns are called timestamp"),
        ("a.csv", text("user,item,Time,time", "u{user},i{item},{second},7"), "user=0,item=1,time=2",
         "two columns are called Time"),
        ("a.csv", text("who,item,when", "u{user},i{item},{second}"), "user=who,item=item,time=when",
         "a usual name for the user"),
        ("a.csv", text("who,when,stars,what", "u{user},{second},4,i{item}"), "user=who,item=what,time=when",
         "names who, when, stars, what"),
        ("a.csv", text("user_id,asin,parent_asin,time", "u{user},i{item},j,{second}"),
         "user=user_id,item=asin,time=time", "asin and parent_asin could both be the item"),
        ("a.csv", text("user,item,posted,ts,date", "u{user},i{item},x,{second},x"), "user=user,item=item,time=ts",
         "ts and date could both be the time"),
    ],
)  # fmt: skip
def test_the_fix_in_the_message_is_the_one_for_this_file(
    name: str, content: bytes, fix: str, words: str, tmp_path: Path
) -> None:
    path = write(tmp_path, content, name)
    found = message(path)
    assert words in found
    named = re.search(r"--columns (user=\S+)", found)
    assert named is not None
    assert named[1] == fix
    data = load(str(path), columns=fix)
    assert data.items.tolist() == expected().items.tolist()
    assert data.times.tolist() == expected().times.tolist()


def test_a_header_of_canonical_names_needs_no_choice(tmp_path: Path) -> None:
    content = text("user,user_id,item,date,timestamp", "u{user},9,i{item},x,{second}")
    assert load(str(write(tmp_path, content))).digest() == expected().digest()


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ("user=who,item=item,time=timestamp", "has no column who. Its header names user, item, timestamp. "),
        ("time=timestmp", "no column timestmp (did you mean timestamp?)"),
        ("user=user,item=user_,time=timestamp", "has no column user_ (did you mean user?)"),
        ("user=item", "--columns takes the column item for two things"),
        ("user=3,item=1,time=2", "has no column 3"),
    ],
)
def test_columns_that_do_not_fit(columns: str, words: str, tmp_path: Path) -> None:
    found = message(write(tmp_path, text()), columns)
    assert words in found
    assert "This fits, as it seems: --columns user=user,item=item,time=timestamp" in found


@pytest.mark.parametrize("columns", ["user=user,item=item,time=time", "user=0,item=1,time=9", "user=0"])
def test_columns_that_do_not_fit_a_file_without_a_header(columns: str, tmp_path: Path) -> None:
    found = message(write(tmp_path, text("", "i{item},u{user},5.0,{second}")), columns)
    assert "has no header (its first line is 'i" in found
    assert "so --columns needs three indices from 0 to 3" in found
    assert "This fits, as it seems: --columns user=1,item=0,time=3" in found


@pytest.mark.parametrize("columns", ["user", "who=a", "user=a,user=b", "user=", "user=a,,item=b", "user=a item=b"])
def test_columns_that_say_nothing(columns: str) -> None:
    if columns == "user=a item=b":
        assert parse_option(columns) == {"user": "a item=b"}
        return
    with pytest.raises(UserError, match="expected user=NAME,item=NAME,time=NAME"):
        parse_option(columns)


def test_one_column_for_two_things() -> None:
    with pytest.raises(UserError, match="takes one column for two things"):
        parse_option("user=0,item=0,time=1")


def test_columns_are_for_files() -> None:
    with pytest.raises(UserError, match="the columns of synthetic are known"):
        load("synthetic", columns="user=a,item=b,time=c")


def test_no_time_at_all(tmp_path: Path) -> None:
    assert "No column looks like a time" in message(write(tmp_path, "user,item,rating\na,b,4\nc,d,5\n"))
    assert "three columns" in message(write(tmp_path, "user,item\na,b\n"))
    assert "three columns" in message(write(tmp_path, "1 2\n1 3\n", "Video.txt"))


# -- what is bad ---------------------------------------------------------------------------------------------------


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
        (gzip.compress(b'{"user": "a"}\n'), "JSON"),
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

PLACES = Columns(",", (), 0, 4, user=1, item=0, time=3)


def test_a_known_format_needs_no_telling() -> None:
    rows = read_rows(Raw("x", b"tea,ann,5.0,30\nmilk,bob,4.0,20\n"), PLACES)
    assert (rows.user_ids, rows.item_ids) == (["ann", "bob"], ["tea", "milk"])
    assert rows.times.tolist() == [30 * MICROSECONDS, 20 * MICROSECONDS]
    with pytest.raises(UserError, match="x line 2: expected 4 fields, found 3"):
        read_rows(Raw("x", b"tea,ann,5.0,30\nmilk,bob,4.0\n"), PLACES)


def test_positions_and_empty_times() -> None:
    extra = Extra(time_may_be_empty=True, position=2)
    rows = read_rows(Raw("x", b"x,a,1,\ny,a,0,5\n"), PLACES, extra)
    assert rows.times.tolist() == [UNKNOWN_TIME, 5 * MICROSECONDS]
    assert rows.positions.tolist() == [1, 0]
    rows = read_rows(Raw("x", b"x,a,1,\ny,a,0,5.5\n"), PLACES, extra)
    assert rows.times.tolist() == [UNKNOWN_TIME, 5_500_000]
    for bad in ("first", "", "-1", "1.5"):
        with pytest.raises(UserError, match="x line 1: expected a position"):
            read_rows(Raw("x", f"x,a,{bad},3\n".encode()), PLACES, extra)


@pytest.mark.parametrize("bad", ["x", "", "nan", "inf"])
def test_a_number_that_is_none(bad: str) -> None:
    with pytest.raises(UserError, match="x line 2: expected a number"):
        read_rows(Raw("x", f"x,a,4.5,3\nx,a,{bad},3\n".encode()), PLACES, Extra(number=2))


def test_quoted_fields_are_what_the_standard_library_reads(tmp_path: Path) -> None:
    ids = ['a "quoted" one', "with, comma", "two\nlines", " blank", "ünï", "'single'", 'ends with "']
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(("user", "item", "timestamp"))
    writer.writerows((name, f"i {name}", BEGIN + place) for place, name in enumerate(ids))
    data = load(str(write(tmp_path, out.getvalue())))
    assert data.user_ids == sorted(name.strip() for name in ids)
    assert sorted(data.item_ids[1:]) == sorted(f"i {name}" for name in ids)
