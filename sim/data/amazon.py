"""Amazon reviews: Video Games (`amazon-game`) and Grocery and Gourmet Food (`amazon-food`), ratings only.

The release is told by the publisher's file name, because neither has a header:

    Video_Games.csv, Grocery_and_Gourmet_Food.csv                    2018: item,user,rating,timestamp
    ratings_Video_Games.csv, ratings_Grocery_and_Gourmet_Food.csv    2014: user,item,rating,timestamp
    amazon2014_<category>_5core.csv.xz                               2014 extract: user_id,item_id[,position],timestamp

The first of these that is found is used, in this order, packed (.gz, .xz) or not, and only 2018, the release the paper
cites, is called by the plain name: the others are `amazon-game-2014` and `amazon-game-2014-5core` in every table.

Filter: every rating is a positive, a row that repeats user, item and time is dropped, users with at least 10 ratings
are kept, no item is dropped. The paper's "fewer than 20" cannot be what it did, as its users have 19.1 and 19.8
interactions on average and its items 10.0 and 3.3. Ten is a reading of these means: in the 2014 5-core extracts it
gives 19.2 (games) and 20.1 (food), 5 gives 9.5 and 10.3, 20 gives 37.8 and 35.7. Times are whole days, so that rows of
a user often tie; ties keep the order of the file.

Ni, Li and McAuley, EMNLP 2019 (2018 release); McAuley et al., SIGIR 2015 (2014 release).
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from core.errors import UserError
from sim.data.columns import Columns, tell_columns
from sim.data.files import locate
from sim.data.interactions import Interactions, build_interactions
from sim.data.raw import read_raw
from sim.data.table import Extra, Rows, read_rows
from sim.data.times import MICROSECONDS, UNKNOWN_TIME

USERS_WITH_AT_LEAST = 10
HOME = "https://nijianmo.github.io/amazon/index.html (2018) or http://jmcauley.ucsd.edu/data/amazon/ (2014)"
_RATINGS_2018 = Columns(",", (), 0, 4, user=1, item=0, time=3)
_RATINGS_2014 = Columns(",", (), 0, 4, user=0, item=1, time=3)


def load_amazon_game(data_dir: Path | None = None) -> Interactions:
    """Video Games; in the paper's Table 6 11,292 users, 68,308 items, 223,696 interactions.

    Raises:
        UserError: The files are nowhere, are damaged, or hold a bad row.
    """
    return _load("amazon-game", "Video_Games", data_dir)


def load_amazon_food(data_dir: Path | None = None) -> Interactions:
    """Grocery and Gourmet Food; in the paper's Table 6 27,149 users, 51,885 items, 517,548 interactions.

    Raises:
        UserError: The files are nowhere, are damaged, or hold a bad row.
    """
    return _load("amazon-food", "Grocery_and_Gourmet_Food", data_dir)


def _load(dataset: str, category: str, data_dir: Path | None) -> Interactions:
    releases = [f"{stem}{category}.csv{packed}" for stem in ("", "ratings_") for packed in ("", ".gz", ".xz")]
    path = locate(dataset, [*releases, f"amazon2014_{category}_5core.csv.xz"], data_dir, home=HOME)
    if path.name.startswith(category):
        name, rows = dataset, read_rows(read_raw(path), _RATINGS_2018)
    elif path.name.startswith("ratings_"):
        name, rows = f"{dataset}-2014", read_rows(read_raw(path), _RATINGS_2014)
    else:
        name, rows = f"{dataset}-2014-5core", _read_extract(path, category)
    table = pd.DataFrame({"user": rows.users, "item": rows.items, "time": rows.times})
    table = table.drop_duplicates(ignore_index=True)
    dropped = len(rows.users) - len(table)
    notes = [f"filter: {dropped:,} rows left out, they repeat user, item and time of another one"] if dropped else []
    return build_interactions(
        name,
        table["user"].to_numpy(),
        table["item"].to_numpy(),
        table["time"].to_numpy(),
        rows.user_ids,
        rows.item_ids,
        users_with_at_least=USERS_WITH_AT_LEAST,
        ticks=MICROSECONDS,
        notes=notes,
    )


def _read_extract(path: Path, category: str) -> Rows:
    raw = read_raw(path)
    columns = tell_columns(raw.name, raw.data, "user=user_id,item=item_id,time=timestamp")
    if category != "Video_Games":
        return read_rows(raw, columns)
    if "position" not in columns.header:
        raise UserError(f"{path} has no column position; its header names {', '.join(columns.header)}")
    extra = Extra(time_may_be_empty=True, position=columns.header.index("position"))
    return order_by_position(path, read_rows(raw, columns, extra))


def order_by_position(path: Path, rows: Rows) -> Rows:
    """Put rows in the order of user and position, and fill unknown times.

    An unknown time becomes that of the row before it, at the start of a sequence that of the first row with one; a
    user without any gets the earliest time of the file. So order and length of sequences are exact, pauses are not.

    Raises:
        UserError: A user's times fall while the positions rise.
    """
    order = np.lexsort((rows.positions, rows.users))
    users = rows.users[order]
    known = pd.Series(rows.times[order], dtype="Int64").replace(UNKNOWN_TIME, pd.NA)
    filled = known.groupby(users).ffill().groupby(users).bfill().fillna(known.min())
    times = filled.fillna(0).to_numpy(dtype=np.int64)
    falls = np.flatnonzero((np.diff(times) < 0) & (np.diff(users) == 0))
    if len(falls):
        user = rows.user_ids[users[falls[0]]]
        raise UserError(f"{path}: the times of user {user} are not in the order of their positions")
    return replace(rows, users=users, items=rows.items[order], times=times, positions=rows.positions[order])
