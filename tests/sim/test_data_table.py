"""Any table of interactions: its form is told by the file, and said."""

import csv
import gzip
import io
import lzma
from datetime import timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from core.errors import UserError
from core.seeds import numpy_generator
from sim.data import load, table
from sim.data.interactions import build_interactions
from sim.data.raw import Raw
from sim.data.table import Extra, read_rows
from sim.data.times import MICROSECONDS, UNKNOWN_TIME
from tests.support.tables import BEGIN, PLACES, baseline, expected, iso, text, write

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


# -- formats that a loader knows -----------------------------------------------------------------------------------


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


def test_quoted_fields_are_what_the_standard_library_reads(tmp_path: Path) -> None:
    ids = ['a "quoted" one', "with, comma", "two\nlines", " blank", "ünï", "'single'", 'ends with "']
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(("user", "item", "timestamp"))
    writer.writerows((name, f"i {name}", BEGIN + place) for place, name in enumerate(ids))
    data = load(str(write(tmp_path, out.getvalue())))
    assert data.user_ids == sorted(name.strip() for name in ids)
    assert sorted(data.item_ids[1:]) == sorted(f"i {name}" for name in ids)
