"""Which columns of a table hold user, item and time: what cannot be told is refused with the option that fits."""

import re
from pathlib import Path

import pytest

from core.errors import UserError
from sim.data import load
from sim.data.columns import parse_option
from tests.support.tables import expected, iso, message, text, write


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
