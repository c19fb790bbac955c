"""Times against Python's own arithmetic, and damaged files: read, or refused in one line, never a traceback."""

import tempfile
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.errors import UserError
from sim.data import load, times

UNITS = {"seconds": 0, "milliseconds": 3, "microseconds": 6, "nanoseconds": 9}
FULL_SECONDS = st.integers(
    min_value=200_000_000, max_value=9_000_000_000
)  # in every unit within the bounds of that unit


@given(st.lists(FULL_SECONDS, min_size=1), st.sampled_from(sorted(UNITS)), st.integers(0, 999_999_999), st.booleans())
def test_whole_numbers_of_every_unit_are_exact(moments: list[int], unit: str, below: int, as_text: bool) -> None:
    digits = UNITS[unit]
    values = [moment * 10**digits + below // 10 ** (9 - digits) for moment in moments]
    column = pa.chunked_array([pa.array(values, pa.int64())])
    found, form = times.to_microseconds(column, False)
    assert form == unit
    exact = [int(Fraction(value * 10**6, 10**digits)) for value in values]
    assert found.tolist() == exact
    if as_text and digits <= 6:  # as numbers with a point: 53 bits hold microseconds until the year 2255
        found, form = times.to_microseconds(pa.chunked_array([pa.array([f"{value}.0" for value in values])]), False)
        assert (form, found.tolist()) == (unit, exact)


@given(st.lists(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)), min_size=1), st.booleans())
def test_iso_is_what_the_standard_library_reads(moments: list[datetime], zone: bool) -> None:
    texts = [moment.isoformat() + "Z" * zone for moment in moments]
    found, form = times.to_microseconds(pa.chunked_array([pa.array(texts)]), False)
    start = datetime(1970, 1, 1, tzinfo=UTC)
    assert form == f"ISO 8601 {'with' if zone else 'without'} a zone"
    differences = (moment.replace(tzinfo=UTC) - start for moment in moments)
    assert found.tolist() == [(d.days * 86_400 + d.seconds) * 10**6 + d.microseconds for d in differences]
    assert times.seconds(texts[0], False) == pytest.approx(found[0] / 1e6)


@pytest.mark.parametrize("values", [[1, 10**12], [0, 10**12], [10**12, 10**15], [10**10, 10**11]])
def test_two_units_are_bad(values: list[int]) -> None:
    with pytest.raises(times.BadTimes):
        times.to_microseconds(pa.chunked_array([pa.array(values)]), False)


def test_unknown_times_do_not_count() -> None:
    column = pa.chunked_array([pa.array([None, 10**12, None])])
    found, form = times.to_microseconds(column, False)
    assert form == "milliseconds"
    assert found.tolist() == [times.UNKNOWN_TIME, 10**15, times.UNKNOWN_TIME]
    nothing = pa.chunked_array([pa.array([None, None], pa.int64())])
    assert (times.to_microseconds(nothing, False)[0] == np.iinfo(np.int64).min).all()


HEADERS = ["user,item,timestamp", "user\titem\ttimestamp", "user;item;timestamp", "user::item::timestamp", ""]
PIECES = st.one_of(
    st.binary(max_size=6),
    st.sampled_from(
        [b'"', b"\n", b"\r", b",", b";", b"::", b"\t", b"\x00", b"\xff", b"0x1", b"nan", b"9" * 5000, b"-", b"."]
    ),
)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(HEADERS), st.lists(st.tuples(st.floats(0, 1), PIECES, st.integers(0, 3)), max_size=4), st.booleans()
)
@example("user,item,timestamp", [(0.0, b"\x00\x00", 2), (0.1640625, b"", 1)], False)  # a header of too few columns
def test_a_damaged_file_is_read_or_refused_in_one_line(
    header: str, damages: list[tuple[float, bytes, int]], given_columns: bool
) -> None:
    separator = next((sign for sign in ("::", "\t", ";") if sign in header), ",")
    rows = [separator.join((f"u{n % 3}", f"i{n % 5}", str(1_600_000_000 + n))) for n in range(12)]
    content = "\n".join([header, *rows] if header else rows).encode()
    for where, piece, drop in damages:
        place = int(where * len(content))
        content = content[:place] + piece + content[place + drop :]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        path.write_bytes(content)
        refusal, interactions = "", 0
        try:
            interactions = load(str(path), columns="user=0,item=1,time=2" if given_columns else None).num_interactions
        except UserError as error:
            refusal = str(error)
        assert "\n" not in refusal
        assert (f"{path}" in refusal) == (interactions == 0)
        assert len(refusal) < 3000
        assert interactions <= content.count(b"\n") + content.count(b"\r") + 1
