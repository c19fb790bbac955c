"""Recognise the columns of user, item and time in a table; an ambiguous one is refused with the options that fit."""

import csv
import difflib
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from core.errors import UserError
from sim.data import times

ROLES = ("user", "item", "time")
USUAL = {
    "user": ("user", "userid", "uid", "reviewerid", "visitorid", "customerid", "memberid", "accountid"),
    "item": (
        "item", "itemid", "iid", "movieid", "productid", "parentasin", "asin", "bookid", "isbn", "businessid", "gameid",
        "trackid", "songid", "articleid", "newsid", "videoid", "recipeid", "placeid", "venueid",
    ),
    "time": (
        "timestamp", "time", "ts", "unixreviewtime", "unixtime", "datetime", "date", "createdat", "timestampms",
        "eventtime",
    ),
}  # fmt: skip
"""Usual names, in lower case and without what is neither a letter nor a digit."""
SEPARATORS = {"::": "double colon", "\t": "tab", ";": "semicolon", ",": "comma"}
SAMPLE = 200
"""Records by which a form is recognised."""
SAMPLE_BYTES = 1 << 20
LONGEST_NAME, MOST_NAMES = 60, 40
"""What a message shows of a header: characters of a name, and names."""

_INDEX = re.compile(r"\d{1,4}")
_TYPE = re.compile(r":(token|token_seq|float|float_seq)$")
_RATING_NAMES = ("rating", "score", "stars", "overall", "label", "weight", "count")
_USERS_LOOK = re.compile(r"(u|user)[_-]?\d+|A[0-9A-Z]{10,20}", re.IGNORECASE)
_ITEMS_LOOK = re.compile(r"(i|item|m|movie|p|product)[_-]?\d+|B0[0-9A-Z]{8}|\d{9}[\dX]", re.IGNORECASE)
_EARLIEST, _LATEST = 631_152_000, 4_102_444_800  # 1990 and 2100: a column within them looks like times


@dataclass(frozen=True)
class Columns:
    """Where user, item and time stand, and how the file is written."""

    separator: str
    header: tuple[str, ...]
    """Names, as they are written; empty if the file has no header."""
    header_lines: int
    """Lines above the first record of data."""
    width: int
    """Fields of a record."""
    user: int
    item: int
    time: int

    @property
    def decimal_comma(self) -> bool:
        """Whether a comma in a time begins a fraction of a second."""
        return self.separator in (";", "\t")

    def note(self) -> str:
        """What was taken for what."""
        places = (f"{role} = {self._name(getattr(self, role))}" for role in ROLES)
        header = "" if self.header else "; no header"
        return f"columns: {', '.join(places)}; separator: {SEPARATORS[self.separator]}{header}"

    def _name(self, index: int) -> str:
        return _readable(self.header[index].strip()) if self.header else str(index)


def parse_option(given: str | None) -> dict[str, str]:
    """Read ``user=NAME,item=NAME,time=NAME``; a part that is left out is recognised by the usual names.

    Raises:
        UserError: A part is not one of these three, or names a column that another one names.
    """
    out: dict[str, str] = {}
    for part in (given or "").split(","):
        role, equals, name = (piece.strip() for piece in part.partition("="))
        if not part.strip() and not out and not given:
            continue
        if role not in ROLES or not equals or not name or role in out:
            raise UserError(
                f"--columns {given}: expected user=NAME,item=NAME,time=NAME, or for a file without a header the "
                "indices of the columns, from 0: user=0,item=1,time=3"
            )
        out[role] = name
    if len(set(out.values())) < len(out):
        raise UserError(f"--columns {given} takes one column for two things")
    return out


def tell_columns(name: str, data: bytes, option: str | None = None) -> Columns:
    """Tell separator, header and columns from the first records of a file.

    Args:
        name: The file, for messages.
        data: Its bytes.
        option: The text of ``--columns``, if it was given.

    Raises:
        UserError: Something cannot be told; the message holds the ``--columns`` that fit this file, if there are any.
    """
    given = parse_option(option)
    head = data[:SAMPLE_BYTES].decode("utf-8", errors="replace")
    if len(data) > SAMPLE_BYTES:
        head = head[: head.rfind("\n") + 1]
    separator = _separator(head, given)
    rows, lines = _records(head, separator)
    if len(rows[0]) < len(ROLES):
        raise UserError(
            f"{name} line {lines}: found no three columns (user, item, time) that a comma, tab, semicolon or :: "
            f"separates in {_cut(rows[0])}"
        )
    names = [field.strip() for field in rows[0]]
    headed = _is_header(names)
    chosen = _by_name(name, names, rows[1:], separator, given) if headed else _by_index(name, rows, separator, given)
    return Columns(
        separator, tuple(names) if headed else (), lines if headed else 0, len(names),
        chosen["user"], chosen["item"], chosen["time"],
    )  # fmt: skip


def _separator(head: str, given: Mapping[str, str]) -> str:
    """The separator whose first records name most of the columns, are equally long, and longest."""

    def rank(separator: str) -> tuple[int, bool, int]:
        rows, _ = _records(head, separator)
        width = len(rows[0])
        if width < len(ROLES):
            return -1, False, width
        named = set(_plain(given.values())) | {name for names in USUAL.values() for name in names}
        return len(named & set(_plain(rows[0]))), all(len(row) == width for row in rows), width

    return max(SEPARATORS, key=rank)


def _records(head: str, separator: str) -> tuple[list[list[str]], int]:
    """The first records (at least one) without blank lines, and the number of the line on which the first one ends."""
    out: list[list[str]] = []
    first_line = 1
    if len(separator) > 1:
        records = ((number, line.removesuffix("\r").split(separator)) for number, line in _lines(head))
    else:
        reader = csv.reader(io.StringIO(head, newline=""), delimiter=separator)
        records = ((reader.line_num, row) for row in reader)
    try:
        for number, row in records:
            if any(field.strip() for field in row):
                first_line = first_line if out else number
                out.append(row)
            if len(out) > SAMPLE:
                break
    except csv.Error:  # the reader of the whole file names the line
        pass
    return out or [[head]], first_line


def _lines(head: str) -> list[tuple[int, str]]:
    return list(enumerate(head.split("\n"), start=1))


def _is_header(names: Sequence[str]) -> bool:
    """Whether the first record names columns: no field is a number or a time, or they are 0, 1, 2, ..."""
    if list(names) == [str(index) for index in range(len(names))]:
        return True
    return not any(times.form(name, True) for name in names)


def _by_name(
    file: str, names: Sequence[str], rows: Sequence[Sequence[str]], separator: str, given: Mapping[str, str]
) -> dict[str, int]:
    """Indices of the three columns of a file with a header."""
    plain = _plain(names)
    chosen: dict[str, int] = {}
    trouble: list[str] = []
    for role in ROLES:
        if role in given:
            found = _named(given[role], names)
            wanted = given[role]
        else:
            found = [index for index, name in enumerate(plain) if name in USUAL[role]]
            usual = [index for index in found if plain[index] == USUAL[role][0]]
            found = usual or found
            wanted = role
        if len(found) == 1:
            chosen[role] = found[0]
        elif not found and role in given:
            near = difflib.get_close_matches(wanted, names, n=1)
            trouble.append(
                f"it has no column {_readable(wanted)}" + (f" (did you mean {_readable(near[0])}?)" if near else "")
            )
        elif not found:
            trouble.append(f"none of its columns has a usual name for the {role}")
        elif len({plain[index] for index in found}) == 1:
            trouble.append(f"{_count(len(found))} columns are called {_readable(names[found[0]])}")
        else:
            trouble.append(
                f"its columns {' and '.join(_readable(names[index]) for index in found)} could both be the {role}"
            )
    taken = [index for index in chosen.values() if list(chosen.values()).count(index) > 1]
    if taken:
        trouble.append(f"--columns takes the column {_readable(names[taken[0]])} for two things")
        chosen = {}
    if trouble:
        words = ", ".join(map(_readable, names[:MOST_NAMES])) + (", ..." if len(names) > MOST_NAMES else "")
        raise UserError(
            f"{file}: {'; '.join(trouble)}. Its header names {words}.{_fix(names, rows, separator, chosen)}"
        )
    return chosen


def _by_index(file: str, rows: Sequence[Sequence[str]], separator: str, given: Mapping[str, str]) -> dict[str, int]:
    """Indices of the three columns of a file without a header; they have to be given."""
    width = len(rows[0])
    first = f"{file} has no header (its first line is {_cut(rows[0], separator)})"
    chosen = {role: int(text) for role, text in given.items() if _INDEX.fullmatch(text) and int(text) < width}
    if len(chosen) < len(ROLES) or len(set(chosen.values())) < len(ROLES):
        why = f", so --columns needs three indices from 0 to {width - 1}" if given else ""
        movielens = ""
        if separator == "::" and width == 4:
            movielens = " MovieLens-1M's own ratings.dat is better read with --dataset ml1m, which knows the titles."
        raise UserError(f"{first}{why}.{movielens}{_fix([], rows, separator, {})}")
    return chosen


def _named(wanted: str, names: Sequence[str]) -> list[int]:
    """Indices of the columns with this name: as written, else without its type, else in any case, else the index."""
    for form in (str, _untyped, lambda name: _untyped(name).lower()):
        found = [index for index, name in enumerate(names) if form(name) == form(wanted)]
        if found:
            return found
    if _INDEX.fullmatch(wanted) and int(wanted) < len(names):
        return [int(wanted)]
    return []


def _fix(names: Sequence[str], rows: Sequence[Sequence[str]], separator: str, chosen: Mapping[str, int]) -> str:
    """The sentence with the whole option that fits the file, guessed from its first records."""
    decimal_comma = separator != ","
    rows = [row for row in rows if len(row) == len(rows[0])]
    if not rows:
        return " It holds no record below its header."
    columns = {index: [row[index].strip() for row in rows] for index in range(len(rows[0]))}
    if names:  # a damaged header names fewer columns than the records have
        names = [*names, *[""] * (len(columns) - len(names))]
    guess = dict(chosen)
    free = [index for index in columns if index not in guess.values()]
    if "time" not in guess:
        moments = {index: [times.seconds(text, decimal_comma) for text in columns[index]] for index in free}
        likely = [i for i, all_ in moments.items() if all(m is not None and _EARLIEST < m < _LATEST for m in all_)]
        if not likely:
            return (
                " No column looks like a time (a number since 1970, or ISO 8601), which is needed: --columns time=NAME."
            )
        guess["time"] = next((index for index in likely if names and _plain(names)[index] in USUAL["time"]), likely[0])
    free = [index for index in free if index != guess["time"]]
    plain = [index for index in free if not _is_rating(names, index, columns[index])]
    pair = plain if len(plain) >= 2 - len({"user", "item"} & guess.keys()) else free
    if "user" not in guess and "item" not in guess:
        usual = [next((i for i in pair if names and _plain(names)[i] in USUAL[role]), None) for role in ROLES[:2]]
        user = usual[0] if usual[0] is not None else next(i for i in pair if i != usual[1])
        item = usual[1] if usual[1] is not None else next(i for i in pair if i != user)
        if usual == [None, None] and _look(_ITEMS_LOOK, columns[user]) and _look(_USERS_LOOK, columns[item]):
            user, item = item, user
        guess["user"], guess["item"] = user, item
    for role in ("user", "item"):
        if role not in guess:
            guess[role] = next((i for i in pair if names and _plain(names)[i] in USUAL[role]), pair[0])
    once = all(_plain(names).count(_plain(names)[index]) == 1 for index in guess.values()) if names else False
    by_name = once and not any(
        set(names[index]) & set(",= '\"") or not _is_readable(names[index]) for index in guess.values()
    )
    words = (f"{role}={names[guess[role]] if by_name else guess[role]}" for role in ROLES)
    return f" This fits, as it seems: --columns {','.join(words)}"


def _is_rating(names: Sequence[str], index: int, values: Sequence[str]) -> bool:
    if names and _plain(names)[index] in _RATING_NAMES:
        return True
    if not all(times.is_number(value) for value in values):
        return False
    return all(abs(float(value.replace(",", "."))) <= 10 for value in values) and len(set(values)) <= 11


def _look(shape: re.Pattern[str], values: Sequence[str]) -> bool:
    return all(shape.fullmatch(value) for value in values)


def _untyped(name: str) -> str:
    return _TYPE.sub("", name.strip())


def _plain(names: Iterable[str]) -> list[str]:
    """Names as USUAL writes them: without a type, in lower case, letters and digits only."""
    return [re.sub(r"[\W_]", "", _untyped(name).lower()) for name in names]


def _count(number: int) -> str:
    return {2: "two", 3: "three"}.get(number, str(number))


def _is_readable(name: str) -> bool:
    return 0 < len(name) <= LONGEST_NAME and name.isprintable()


def _readable(name: str) -> str:
    """A column's name as a line of text can hold it."""
    if _is_readable(name) or not name:
        return name
    return repr(name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}...")


def _cut(row: Sequence[str], separator: str = ",") -> str:
    line = separator.join(row)
    return repr(line if len(line) <= 80 else f"{line[:80]}...")
