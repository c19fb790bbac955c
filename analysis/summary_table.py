"""The columns of a summary as tables show them, and the table for the terminal."""

import math
from dataclasses import replace

from rich.table import Table as TerminalTable

from analysis import captions
from analysis.run import Run
from analysis.sections import data_facts
from analysis.summary import relative_difference
from analysis.tables import Column, Table, build, method_column, terminal
from analysis.text import (
    Row,
    between,
    number,
    p_text,
    percent,
    plural,
    quality,
    scaled,
    signed,
    signed_percent,
    spread,
    told_apart,
)
from core.schema import BY_TYPE, ONE_TABLE

HIT = Column("Hit@10", "hit@10", quality, best=max, short="Hit\n@10")
HIT_SD = replace(HIT, unit="± over seeds", note=lambda row: spread(row["hit@10_sd"]))
_INTERVAL = between("ndcg@10_low", "ndcg@10_high")
NDCG = Column("NDCG@10", "ndcg@10", quality, "95 % interval", best=max, note=_INTERVAL, short="NDCG\n@10")
NDCG_SD = Column("NDCG@10", "ndcg@10_sd", spread, "± over seeds")
_PAIRED = between("ndcg@10_delta_low", "ndcg@10_delta_high", signed)
AGAINST_DEVICEREC = (
    Column("Difference", "ndcg@10_delta", signed, "to DeviceRec", note=_PAIRED, optional=True),
    Column("in %", "relative", signed_percent, optional=True),
    Column("p", "ndcg@10_p", p_text, optional=True),
)
CAPTURED = Column(
    "Captured",
    "captured",
    signed_percent,
    "of what there is",
    note=between("captured_low", "captured_high", signed_percent),
    explanation="Captured: 0 % is one table of counts for all, 100 % tables by type of user, which only an oracle has.",
    optional=True,
)
"""Where a method lies between the two, in data whose users have known types."""
OTHER_MEASURES = (
    Column("Hit@1", "hit@1", quality, best=max, explanation="NDCG@1 is Hit@1."),
    *(Column(f"Hit@{k}", f"hit@{k}", quality, best=max) for k in (5, 20)),
    *(Column(f"NDCG@{k}", f"ndcg@{k}", quality, best=max) for k in (5, 20)),
    Column("MRR", "mrr", quality, best=max, explanation="MRR: mean of 1 / rank, without a cut-off."),
    Column("Hit@10", "hit@10_sampled", quality, "sampled", best=max, optional=True),
    Column("NDCG@10", "ndcg@10_sampled", quality, "sampled", best=max, optional=True),
    Column(
        "Coverage",
        "coverage",
        percent,
        "of all items",
        explanation="Coverage: share of all items that was among the first 10 before at least one event of any device.",
    ),
)
"""Quality at other cut-offs and without one, and what is recommended at all."""
SERVED = Column("Served", "served", percent, "of sessions", best=max)
_INFERENCE = "MACs (counted, paper's) and inference: mean of one inference."
_MACS_SESSION = "MACs a session: all that the device multiplies, extractors and its own training included."
_SESSION = "Requests, uplink, downlink, adaptation, energy: mean of a device-session."
COSTS = (
    Column("Blocks", "blocks", number, best=min),
    Column("MACs", "macs_m", number, "M, counted", best=min, short="MACs\nM", explanation=_INFERENCE),
    Column("MACs", "macs_paper_m", number, "M, paper's", best=min),
    Column("MACs", "macs_session_m", number, "M a session", best=min, explanation=_MACS_SESSION, optional=True),
    Column("Model", "param_mbit", number, "Mbit", best=min, short="model\nMbit"),
    Column(
        "Installed",
        "installed_mbit",
        number,
        "Mbit a device",
        best=min,
        short="inst.\nMbit",
        optional=True,
        explanation="Model: what one inference needs; installed: what a device holds before its first session.",
    ),
    Column("Requests", "requests_per_session", number, best=min),
    Column("Uplink", "uplink_kbit", number, "kbit", best=min, explanation=_SESSION),
    Column("Downlink", "downlink_mbit", number, "Mbit", best=min, short="down\nMbit"),
    Column("Adaptation", "seconds_adapt", scaled(1e3), "ms", best=min, short="adapt\nms"),
    Column("Inference", "seconds_inference", scaled(1e6), "µs", best=min),
    Column("Energy", "joules", scaled(1e3), "mJ", best=min, short="energy\nmJ"),
)
"""What a method costs, of a frame with the columns of ``summary.csv``."""


def terminal_table(run: Run) -> TerminalTable:
    """The comparison for the terminal, 80 characters wide where the numbers allow it.

    The best quality is bold and starred; of costs nothing is, since methods without a network have none. The protocol
    is the caption; a column that says the same of all methods by its nature (no difference to give, everybody served)
    is left out. What the data warn of comes last.
    """
    frame = run.summary.assign(relative=relative_difference(run.summary))
    costs = [replace(column, best=None) for column in COSTS if column.short]
    words = "* best of its column. MACs, model: of one inference. Down, adapt, energy: a session's mean."
    if frame["installed_mbit"].isna().all():
        costs = [column for column in costs if column.key != "installed_mbit"]
    else:
        words += " Inst.: what a device holds before it plays."
    columns = [replace(method_column(run.title), short="\nmethod"), HIT, NDCG, _GAIN, _ROOM, *costs, _SHORT_SERVED]
    if frame["relative"].isna().all():
        columns.remove(_GAIN)
    else:
        words += " Gain: NDCG@10 against DeviceRec's; in brackets if its 95 % interval over devices includes zero."
    if (frame["served"] == 1).all():
        columns.remove(_SHORT_SERVED)
        words += " Every device-session was served."
    if frame["captured"].isna().all():
        columns.remove(_ROOM)
    else:
        columns = [column for column in columns if column.key != "param_mbit"]  # there is no room for both
        words = words.replace("MACs, model:", "MACs:") + _room(run)
        frame = frame.assign(captured=frame["captured"].where(~frame["method"].isin(ENDS), frame["method"].map(ENDS)))
    warnings = [f"warning: {text}" for text in data_facts.warnings(run)]
    table = build(frame, [replace(column, note=None, explanation="") for column in columns])
    table = Table("\n".join(["", captions.caption(run), words, *warnings]), table.header, table.rows)
    heading = f"{captions.dataset_title(run)}: {plural(len(frame), 'method')}"
    return terminal(table, heading, columns, tight=True)  # a rule between columns would cost nine characters


def _room(run: Run) -> str:
    """What the column of that name says."""
    return (
        f" Room: how much of what there is to gain was captured; 0 is {run.title(ONE_TABLE)} (one table of counts for "
        f"all), 100 is {run.title(BY_TYPE)} (tables by type of user, which no device knows)."
    )


def gain(row: Row) -> str:
    """In brackets where it is not told apart from none, and without its unit."""
    text = signed_percent(row["relative"]).removesuffix("\u00a0%")
    return text if told_apart(row) else f"({text})"


_GAIN = Column("Gain", write=gain, short="NDCG\ngain %")
ENDS = {ONE_TABLE: 0.0, BY_TYPE: 1.0}
"""Between which methods captured is measured."""
_ROOM = Column(
    "Captured",
    "captured",
    lambda share: "" if math.isnan(share) else signed_percent(share, 0).removesuffix("\u00a0%").lstrip("+"),
    short="room\n%",
)
_SHORT_SERVED = Column(
    "Served", "served", lambda share: "100" if share == 1 else f"{100 * share:.1f}", best=max, short="served\n%"
)
