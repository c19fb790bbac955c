"""Every column of a run's tables, once: name, type, unit, meaning, and what stands in for it where a run lacks it.

    python -m core.schema          # the tables as Markdown, for docs/run-folder.md

``sim`` writes its rows in this order and with these types; ``analysis`` checks and explains them. A new column is one
entry here and its value in the row.
"""

from collections.abc import Iterable
from dataclasses import dataclass

NEEDED = object()
"""Stands for nothing: a run without this column cannot be read."""

STATUSES = {
    "ok": "the device played its session and answered",
    "late": "the request came after the deadline, so the device ranked by popularity",
    "dropped": "no answer at all",
    "vanished": "gone in mid-session with its measurements; what had been sent is counted",
    "rejected": "a message broke the protocol",
    "failed": "the device's program raised an error, a fault of the simulator or the engine",
    "lost": "the engine never answered for the device",
}
"""What can become of a device-session, in the order of tables."""

FAULTS = ("failed", "lost")
"""The statuses that are faults of the software: the scenario lets none of them happen."""

PHASES = ("stationary", "before", "during", "after")
"""Where a session lies against its device's change of interest."""

ONE_TABLE, BY_TYPE = "cooccurrence", "cooccurrence-by-type"
"""Methods without a network: counts for everybody, and counts by type of user. What lies between them is what there is
to gain for a method that adapts."""
ORACLES = (BY_TYPE,)
"""Methods that are told what no device knows. They stand in tables to show what there is to gain, and win nothing."""


@dataclass(frozen=True)
class Column:
    """One column of a table; numbers are finite and not negative unless the column says otherwise."""

    name: str
    dtype: str
    """As pandas calls it; ``text`` for words, which keep the type that pandas gives them."""
    unit: str
    meaning: str
    stands_in: object = NEEDED
    """The value where a run lacks the column."""
    optional: str = ""
    """The option without which a run has no such column."""
    missing: bool = False
    """Single values may be NaN."""
    infinite: bool = False
    """Values may be infinite."""
    signed: bool = False
    """Values may be negative."""


_NUMBER, _COUNT, _MASK, _MACS = "number", "count", "bit mask", "multiply-accumulates"
_NAN = float("nan")
_SUM, _SHARE, _CHANGE = "0 to 1, summed over events", "0 to 1", "-1 to 1"
_COMPARED, _SAMPLED, _RETRAIN = "--compare-stale", "--evaluate sampled:N", "--retrain"
_MONTH = "in the sessions that begin within 30 days of a device's first"
_STALE, _FRESH = "the network of the last adaptation", "the network that an adaptation before this session gives"

SESSIONS = (
    Column("seed", "int64", _NUMBER, "seed of training and of the devices' draws"),
    Column("device", "int32", _NUMBER, "number of the device, from 0"),
    Column("method", "text", "text", "name of the method, as on the command line"),
    Column("session", "int32", _NUMBER, "number of the session, from 0"),
    Column("events", "int32", _COUNT, "predictions of the session: its interactions whose item is a candidate"),
    Column("repeats", "int32", _COUNT, "interactions whose item is no candidate, since the device has seen it", 0),
    Column("hits", "int32", _COUNT, "events whose item was among the first 10, counted"),
    Column("ndcg", "float64", _SUM, "NDCG at cut-off 10, summed over the events"),
    Column("requested", "bool", "yes or no", "whether the device asked the cloud for a network before the session"),
    Column("path", "int64", _MASK, "bit mask of the blocks that the device ran; bit 0 is the first block"),
    Column("blocks", "int32", _COUNT, "number of blocks that the device ran"),
    Column("macs", "int64", _MACS, "multiply-accumulates of one inference, counted from the layers that ran"),
    Column("macs_paper", "int64", _MACS, "multiply-accumulates of one inference, counted as the paper does"),
    Column(
        "macs_session", "int64", _MACS,
        "multiply-accumulates of the device in a session: predictions, extractors, own training",
        stands_in=_NAN, missing=True,
    ),
    Column("param_bits", "int64", "bit", "weights of the network that the device ran, in its precision (32 bits each)"),
    Column("bits_down", "int64", "bit", "bits from the cloud to the device"),
    Column("bits_up", "int64", "bit", "bits from the device to the cloud"),
    Column("seconds_adapt", "float64", "s", "seconds until the device had its network (simulated clock)"),
    Column("seconds_wait", "float64", "s", "of them, seconds that the request waited in the cloud's queue", 0.0),
    Column("seconds_inference", "float64", "s", "seconds of one inference (simulated clock)"),
    Column("joules", "float64", "J", "energy of the device over the whole session (simulated)"),
    Column(
        "budget_macs", "float64", _MACS,
        "multiply-accumulates of one inference that the device could afford; infinite without a ceiling",
        stands_in=float("inf"), infinite=True,
    ),
    Column(
        "served", "bool", "yes or no",
        "whether the device could run the method's network; if not, it ranked by popularity",
    ),
    Column(
        "status", "text", "text",
        "what became of the device: " + "; ".join(f"{name} ({meaning})" for name, meaning in STATUSES.items()), "ok",
    ),
    Column("tier", "text", "text", "kind of device"),
    Column("phase", "text", "text", "stationary, or before, during or after the device's change of interest"),
    Column(
        "adapted", "bool", "yes or no", "whether the device got or made a network for this session", False,
    ),
    Column("hits_1", "int32", _COUNT, "events whose item was ranked first, counted", _NAN, missing=True),
    Column("hits_5", "int32", _COUNT, "events whose item was among the first 5, counted", _NAN, missing=True),
    Column("hits_20", "int32", _COUNT, "events whose item was among the first 20, counted", _NAN, missing=True),
    Column("ndcg_5", "float64", _SUM, "NDCG at cut-off 5, summed over the events", _NAN, missing=True),
    Column("ndcg_20", "float64", _SUM, "NDCG at cut-off 20, summed over the events", _NAN, missing=True),
    Column("mrr", "float64", _SUM, "1 / rank, summed over the events, without a cut-off", _NAN, missing=True),
    Column(
        "hits_sampled", "float64", _COUNT,
        f"with {_SAMPLED}: events whose item was among the first 10 of 1 + N sampled candidates, counted",
        optional=_SAMPLED, missing=True,
    ),
    Column(
        "ndcg_sampled", "float64", _SUM,
        f"with {_SAMPLED}: NDCG at cut-off 10 among 1 + N sampled candidates, summed over the events",
        optional=_SAMPLED, missing=True,
    ),
    Column("version", "int32", _NUMBER, f"with {_RETRAIN}: version of the cloud model, from 0", optional=_RETRAIN),
    Column(
        "bits_installed", "int64", "bit",
        "bits of the model that was installed for the session, apart from bits_down: in a device's first one, and with "
        f"{_RETRAIN} in the first with each version",
        stands_in=_NAN, missing=True,
    ),
    Column("hits_stale", "float64", _COUNT, f"with {_COMPARED}: hits with {_STALE}", optional=_COMPARED, missing=True),
    Column(
        "ndcg_stale", "float64", _SUM, f"with {_COMPARED}: NDCG, summed over the events, with {_STALE}",
        optional=_COMPARED, missing=True,
    ),
    Column("hits_fresh", "float64", _COUNT, f"with {_COMPARED}: hits with {_FRESH}", optional=_COMPARED, missing=True),
    Column(
        "ndcg_fresh", "float64", _SUM, f"with {_COMPARED}: NDCG, summed over the events, with {_FRESH}",
        optional=_COMPARED, missing=True,
    ),
)  # fmt: skip
"""The columns of ``sessions.parquet``, in this order: it has one row per seed, method, device and session."""

LATENT = tuple(f"latent_{k}" for k in range(64))
"""The columns of a latent interest."""

UPLOADS = (
    Column("seed", "int64", _NUMBER, "seed of training and of the devices' draws"),
    Column("device", "int32", _NUMBER, "number of the device, from 0"),
    Column("method", "text", "text", "name of the method, as on the command line"),
    Column("session", "int32", _NUMBER, "number of the session, from 0"),
    Column("past", "int64", _COUNT, "interactions of the device before the session: when it asked"),
    Column("path", "int64", _MASK, "the path that it asked for; bit 0 is the first block"),
    *(
        Column(
            name, "float32", _NUMBER, "of the latent interest as the cloud read it; NaN where none was sent",
            missing=True, signed=True,
        )
        for name in LATENT
    ),
)  # fmt: skip
"""The columns of ``uploads.parquet`` (``--uploads``): a row per seed, method and request that arrived, in the order of
rounds. They are no table of :data:`FILES`, whose columns have a line each in the documents."""

SUMMARY = (
    Column("method", "text", "text", "name of the method"),
    Column("devices", "int64", _COUNT, "devices that played"),
    Column("sessions", "int64", _COUNT, "device-sessions, over all seeds"),
    Column("events", "int64", _COUNT, "predicted interactions, over all seeds"),
    Column("hit@10", "float64", _SHARE, "hits divided by events"),
    Column("ndcg@10", "float64", _SHARE, "summed NDCG divided by events"),
    Column("macs_m", "float64", f"10^6 {_MACS}", "multiply-accumulates of one inference, mean over events"),
    Column("param_mbit", "float64", "10^6 bit", "weights of the network that ran, mean over device-sessions"),
    Column("requests_per_session", "float64", "requests a session", "requests to the cloud, mean over device-sessions"),
    Column("uplink_kbit", "float64", "10^3 bit", "bits sent, mean over device-sessions"),
    Column("downlink_mbit", "float64", "10^6 bit", "bits received, mean over device-sessions"),
    Column("served", "float64", "share", "share of device-sessions in which the device could run the network"),
    Column("seconds_adapt", "float64", "s", "seconds until the device had its network, mean over device-sessions"),
    Column("joules", "float64", "J", "energy of the device, mean over device-sessions"),
    Column("macs_paper_m", "float64", f"10^6 {_MACS}", "as macs_m, counted as the paper does"),
    Column(
        "macs_session_m", "float64", f"10^6 {_MACS}",
        "multiply-accumulates of the device (extractors, training too), mean over device-sessions", missing=True,
    ),
    Column("blocks", "float64", _COUNT, "blocks that ran, mean over device-sessions"),
    Column("seconds_inference", "float64", "s", "seconds of one inference, mean over events"),
    Column("seeds", "int64", _COUNT, "seeds that were played"),
    Column("hit@10_sd", "float64", _SHARE, "standard deviation of hit@10 over seeds; NaN of one", missing=True),
    Column("ndcg@10_sd", "float64", _SHARE, "standard deviation of ndcg@10 over seeds; NaN of one", missing=True),
    Column("ndcg@10_low", "float64", _SHARE, "lower end of the 95 % bootstrap interval over devices", missing=True),
    Column("ndcg@10_high", "float64", _SHARE, "upper end of the 95 % bootstrap interval over devices", missing=True),
    Column(
        "ndcg@10_delta", "float64", _CHANGE, "ndcg@10 minus DeviceRec's, over the devices that both have",
        missing=True, signed=True,
    ),
    Column(
        "ndcg@10_delta_low", "float64", _CHANGE, "lower end of the 95 % paired bootstrap interval of the difference",
        missing=True, signed=True,
    ),
    Column(
        "ndcg@10_delta_high", "float64", _CHANGE, "upper end of the 95 % paired bootstrap interval of the difference",
        missing=True, signed=True,
    ),
    Column(
        "ndcg@10_p", "float64", _SHARE, "two-sided p-value of the difference, paired bootstrap over devices",
        missing=True,
    ),
    Column("hit@1", "float64", _SHARE, "hits at cut-off 1 divided by events", missing=True),
    Column("hit@5", "float64", _SHARE, "hits at cut-off 5 divided by events", missing=True),
    Column("hit@20", "float64", _SHARE, "hits at cut-off 20 divided by events", missing=True),
    Column("ndcg@1", "float64", _SHARE, "NDCG at cut-off 1, which equals hit@1", missing=True),
    Column("ndcg@5", "float64", _SHARE, "summed NDCG at cut-off 5 divided by events", missing=True),
    Column("ndcg@20", "float64", _SHARE, "summed NDCG at cut-off 20 divided by events", missing=True),
    Column("mrr", "float64", _SHARE, "mean reciprocal rank of the events, without a cut-off", missing=True),
    Column(
        "hit@10_sampled", "float64", _SHARE, f"with {_SAMPLED}: hit@10 among 1 + N sampled candidates", missing=True,
    ),
    Column(
        "ndcg@10_sampled", "float64", _SHARE, f"with {_SAMPLED}: ndcg@10 among 1 + N sampled candidates", missing=True,
    ),
    Column(
        "coverage", "float64", _SHARE,
        "share of all items that is among the first 10 before at least one event of any device; mean over seeds",
        missing=True,
    ),
    Column(
        "mdac", "float64", "ratio",
        "largest gap of a tier to all devices: the largest absolute difference of a tier's ndcg@10 to ndcg@10, divided "
        "by ndcg@10; NaN of one tier",
        missing=True,
    ),
    Column(
        "installed_mbit", "float64", "10^6 bit",
        f"model that a device has installed before its first session, and with {_RETRAIN} anew; mean over devices",
        missing=True,
    ),
    Column(
        "month_mbit", "float64", "10^6 bit",
        f"traffic of a device {_MONTH}, and what is installed; mean over devices and seeds", missing=True,
    ),
    Column(
        "month_joules", "float64", "J",
        f"energy of a device {_MONTH}, receiving what is installed included; mean over devices and seeds", missing=True,
    ),
    Column(
        "captured", "float64", "share",
        f"of the ndcg@10 between {ONE_TABLE} (0) and the oracle {BY_TYPE} (1), where a method with a network lies",
        missing=True, signed=True,
    ),
    Column(
        "captured_low", "float64", "share", "lower end of its 95 % bootstrap interval over devices",
        missing=True, signed=True,
    ),
    Column(
        "captured_high", "float64", "share", "upper end of its 95 % bootstrap interval over devices",
        missing=True, signed=True,
    ),
)  # fmt: skip
"""The columns of ``summary.csv``, in this order: it has one row per method. Other tools read the first fourteen."""

COVERAGE = (
    Column("seed", "int64", _NUMBER, "seed of training and of the devices' draws"),
    Column("method", "text", "text", "name of the method"),
    Column(
        "recommended", "float64", _COUNT,
        "items among the first 10 before at least one event of any device; empty where it is not known", missing=True,
    ),
    Column("items", "int64", _COUNT, "items of the data set"),
    Column(
        "bits_installed", "float64", "bit",
        "bits of the model that is on every device before its first session: shared part, network, table of counts, "
        "what it makes networks of",
        stands_in=_NAN, missing=True,
    ),
    Column(
        "month_sessions", "float64", _COUNT, f"sessions {_MONTH}, mean over devices", stands_in=_NAN, missing=True,
    ),
    Column(
        "month_bits", "float64", "bit",
        f"bits in both directions {_MONTH}, and of what is installed; mean over devices", stands_in=_NAN, missing=True,
    ),
    Column(
        "month_joules", "float64", "J", f"energy of a device {_MONTH}, receiving what is installed included; mean",
        stands_in=_NAN, missing=True,
    ),
)  # fmt: skip
"""The columns of ``coverage.csv``: it has one row per seed and method, which the simulator itself measures."""

TRAINING = (
    Column("method", "text", "text", "whose cloud model was trained"),
    Column("seed", "int64", _NUMBER, "seed of the training"),
    Column("epoch", "int64", _NUMBER, "number of the epoch, from 1"),
    Column("loss", "float64", "nats", "training loss, mean over the epoch", signed=True),
    Column("valid_ndcg@10", "float64", _SHARE, "NDCG@10 on the devices' validation items, among the candidates"),
    Column("valid_hit@10", "float64", _SHARE, "Hit@10 on the devices' validation items, among the candidates"),
    Column("seconds", "float64", "s", "seconds that the epoch took (measured)"),
    Column("best", "bool", "yes or no", "whether this epoch's weights were kept"),
)
"""The columns of ``training.csv``: it has one row per trained cloud model, seed and epoch."""

TIERS = (
    Column("tier", "text", "text", "kind of device, the slowest first"),
    Column("method", "text", "text", "name of the method"),
    Column("devices", "int64", _COUNT, "devices of this kind"),
    Column("sessions", "int64", _COUNT, "their device-sessions, over all seeds"),
    Column("ndcg@10", "float64", _SHARE, "summed NDCG divided by events"),
    Column("low", "float64", _SHARE, "lower end of its 95 % bootstrap interval over devices"),
    Column("high", "float64", _SHARE, "upper end of its interval"),
    Column("hit@10", "float64", _SHARE, "hits divided by events"),
    Column("served", "float64", "share", "share of device-sessions in which the device could run the network"),
    Column("blocks", "float64", _COUNT, "blocks, mean over the device-sessions that ran a network"),
    Column("macs_m", "float64", f"10^6 {_MACS}", "multiply-accumulates of one inference, mean over events"),
    Column("adapt_ms", "float64", "ms", "until a device had a new network, median over those that got or made one"),
    Column("adapt_ms_p95", "float64", "ms", "the same, 95th percentile"),
    Column("inference_us", "float64", "µs", "of one inference, median over the device-sessions that ran a network"),
    Column("inference_us_p95", "float64", "µs", "the same, 95th percentile"),
    Column("mbit", "float64", "10^6 bit", "bits in both directions, mean over device-sessions"),
    Column("joules", "float64", "J", "energy of the device, mean over device-sessions"),
)
"""Of ``tiers.csv``: one row per kind of device and method; of a comparison also by ``setting``."""

FAIRNESS = (
    Column("method", "text", "text", "name of the method"),
    Column("worst_tier", "text", "text", "kind of device with the lowest NDCG@10"),
    Column("worst", "float64", _SHARE, "its NDCG@10, over all its events"),
    Column("best_tier", "text", "text", "kind of device with the highest NDCG@10"),
    Column("best", "float64", _SHARE, "its NDCG@10, over all its events"),
    Column("ratio", "float64", "ratio", "worst divided by best"),
    Column("low", "float64", "ratio", "lower end of the ratio's 95 % bootstrap interval over devices"),
    Column("high", "float64", "ratio", "upper end of its interval"),
    Column("mdac", "float64", "ratio", "as in summary.csv"),
)
"""Of ``figures/fairness.csv``: one row per method; of a comparison's ``fairness.csv`` also by ``setting``."""

PAIRED = (
    Column("method", "text", "text", "name of the method"),
    Column("reference", "text", "text", "the setting that is compared with"),
    Column("setting", "text", "text", "the setting that is compared"),
    Column("devices", "int64", _COUNT, "devices that both have; 0 if they share none: then there is no difference"),
    Column("ndcg@10_reference", "float64", _SHARE, "NDCG@10 of these devices in the reference"),
    Column("ndcg@10_delta", "float64", _CHANGE, "NDCG@10 of these devices minus that in the reference"),
    Column("ndcg@10_delta_low", "float64", _CHANGE, "lower end of the 95 % paired bootstrap interval"),
    Column("ndcg@10_delta_high", "float64", _CHANGE, "upper end of the 95 % paired bootstrap interval"),
    Column("ndcg@10_p", "float64", _SHARE, "two-sided p-value, paired bootstrap over devices"),
)
"""Of a comparison's ``paired.csv``: one row per method and pair of settings."""

DELIVERIES = (
    Column("setting", "text", "text", "name of the setting"),
    Column("delivery", "text", "text", "how devices come to their networks: weights, a code of so many bits, or local"),
    Column("method", "text", "text", "name of the method"),
    *(
        next(column for column in SUMMARY if column.name == name)
        for name in ("ndcg@10", "ndcg@10_low", "ndcg@10_high", "served", "uplink_kbit")
    ),
    Column("session_mbit", "float64", "10^6 bit", "bits in both directions, mean over device-sessions"),
    *(
        next(column for column in SUMMARY if column.name == name)
        for name in ("joules", "macs_session_m", "seconds_adapt", "installed_mbit", "month_mbit", "month_joules")
    ),
    Column(
        "named",
        "float64",
        _SHARE,
        "of the last ten new items of a live stream, the share that an attacker names who reads all requests of the "
        "device (recall@10 of `privacy.csv`); where nothing is asked, one who reads none",
        missing=True,
    ),
)
"""Of a comparison's ``deliveries.csv``: one row per setting and method whose networks are delivered."""

CHANGE = (
    Column("method", "text", "text", "name of the method"),
    Column("devices", "int64", _COUNT, "devices whose change the run reaches"),
    Column("before", "float64", _SHARE, "NDCG@10 of the sessions before the change, on these devices"),
    Column("during", "float64", _SHARE, "of the sessions in which it happens"),
    Column("after", "float64", _SHARE, "of the sessions after it"),
    Column("after_low", "float64", _SHARE, "lower end of its interval"),
    Column("after_high", "float64", _SHARE, "upper end of its interval"),
    Column("after_delta", "float64", _CHANGE, "after minus DeviceRec's, over the same devices; NaN without DeviceRec"),
    Column("after_delta_low", "float64", _CHANGE, "lower end of its paired interval"),
    Column("after_delta_high", "float64", _CHANGE, "upper end of its interval"),
    Column("after_p", "float64", _SHARE, "two-sided p-value of the difference, paired bootstrap over devices"),
    Column("after_relative", "float64", "share", "after_delta as a share of DeviceRec's after, over the same devices"),
    Column("after_relative_low", "float64", "share", "lower end of its paired interval"),
    Column("after_relative_high", "float64", "share", "upper end of its interval"),
    Column(
        "recovery", "float64", "sessions",
        "until 90 % of the level before is back, on average over devices; NaN: not in the run",
    ),
    Column("recovery_low", "float64", "sessions", "lower end of its interval, over the draws in which it came back"),
    Column("recovery_high", "float64", "sessions", "upper end of its interval"),
    Column("unrecovered", "float64", "share", "share of the draws in which it did not come back"),
    Column(
        "second", "float64", "ratio",
        "NDCG@10 of the second session after that of the change over the level before; NaN: not in the run",
    ),
    Column("second_low", "float64", "ratio", "lower end of its interval"),
    Column("second_high", "float64", "ratio", "upper end of its interval"),
)  # fmt: skip
"""Of a run's ``around.csv``; in a comparison's, rows have ``world``, ``policy`` and the NDCG@10 of all sessions before
it."""

ASKING = (
    Column("method", "text", "text", "name of the method"),
    Column("rate", "float64", "share", "sessions after a device's first in which it adapted"),
    Column("mbit", "float64", "10^6 bit", "per device-session, both directions"),
    Column(
        "seconds", "float64", "s",
        "of adapting, mean over device-sessions (simulated): training on the device, or computing and waiting",
    ),
    Column("ndcg@10", "float64", _SHARE, "over all events"),
    Column("low", "float64", _SHARE, "lower end of its interval"),
    Column("high", "float64", _SHARE, "upper end of its interval"),
    Column(
        "delay", "float64", "sessions", "from the change to the next adaptation, mean over the devices that adapt then",
    ),
    Column("noticed", "float64", "share", "of the devices with sessions after the change: they adapt in one of them"),
    Column(
        "false_alarms", "float64", "share",
        "of the sessions that start before the change, or without one: the device adapted",
    ),
    Column(
        "gain_all", "float64", _CHANGE,
        "NDCG@10 that a fresh network gains over the stale one, mean over all events; NaN: not measured",
    ),
    Column("gain_low", "float64", _CHANGE, "lower end of its interval"),
    Column("gain_high", "float64", _CHANGE, "upper end of its interval"),
    Column(
        "captured", "float64", "share",
        "revenue captured: that gain in the sessions with an adaptation over the gain of all",
    ),
    Column("captured_low", "float64", "share", "lower end of its interval; NaN where the gain of all may be none"),
    Column("captured_high", "float64", "share", "upper end of its interval"),
)  # fmt: skip
"""What a request policy achieved, of each method that adapts."""

POLICIES = (
    Column("world", "text", "text", "the settings that play the same streams with the same models, in words"),
    Column("setting", "text", "text", "name of the setting"),
    Column("policy", "text", "text", "as on the command line"),
    Column("budget", "float64", "share", "the budget of requests that set its parameter; NaN: none"),
    Column("devicerec", "float64", _SHARE, "NDCG@10 of DeviceRec in this world; NaN if it was not played"),
    *ASKING,
    Column(
        "random_delta", "float64", _CHANGE,
        "NDCG@10 minus that of the policy random with the same budget, over the same devices",
    ),
    Column("random_low", "float64", _CHANGE, "lower end of its paired interval"),
    Column("random_high", "float64", _CHANGE, "upper end of its interval"),
    Column("random_p", "float64", _SHARE, "two-sided p-value, paired bootstrap over devices"),
)  # fmt: skip
"""Of a comparison's ``policies.csv``: one row per setting and method that adapts."""

PRIVACY = (
    Column("run", "text", "text", "name of the run folder"),
    Column("method", "text", "text", "name of the method"),
    Column("defence", "text", "text", "what devices do against an attacker"),
    Column("protocol", "text", "text", "of the run; the cloud knows the histories, the secret is the live stream"),
    Column(
        "measure", "text", "text",
        "recall@1, @10, @50: of the new items among the last 1, 10, 50 live interactions, the share in a list as long; "
        "membership, membership_matched: AUC of the new live items against all others, and against those of about the "
        "same popularity, at a device's last request; hit@10, ndcg@10: of the next item; gender, age (below 35): AUC",
    ),
    Column(
        "attack", "text", "text",
        "popularity, cooccurrence (with the known history), history (the attacker without requests); upload (with one "
        "request), uploads (with all so far); items (the items themselves are sent)",
    ),
    Column("value", "float64", _SHARE, "what the attack reaches, mean over attackers"),
    Column("low", "float64", _SHARE, "lower end of its 95 % bootstrap interval over devices", missing=True),
    Column("high", "float64", _SHARE, "upper end of its interval", missing=True),
    Column("sd", "float64", _SHARE, "standard deviation over attackers; NaN of one", missing=True),
    Column("attackers", "int64", _COUNT, "attackers, each trained with a seed of its own, times the seeds of the run"),
    Column("devices", "int64", _COUNT, "devices of the run"),
    Column("requests", "int64", _COUNT, "requests that arrived, over all seeds"),
    Column("quality", "float64", _SHARE, "NDCG@10 of the method in this run"),
    Column("bits_up", "float64", "bit", "bits of a request, mean"),
    Column("epsilon_session", "float64", _NUMBER, "of the latent interest of one session, delta 1e-5", infinite=True),
    Column("epsilon_run", "float64", _NUMBER, "of all requests of the device that made most", infinite=True),
)  # fmt: skip
"""Of ``privacy.csv``: what requests give away, one row per method, measure and attack."""

FILES = {
    "sessions.parquet": SESSIONS,
    "summary.csv": SUMMARY,
    "training.csv": TRAINING,
    "coverage.csv": COVERAGE,
    "tiers.csv": TIERS,
    "fairness.csv": FAIRNESS,
    "paired.csv": PAIRED,
    "deliveries.csv": DELIVERIES,
    "around.csv": CHANGE,
    "policies.csv": POLICIES,
    "privacy.csv": PRIVACY,
}
"""The columns of the tables of a run and of a comparison, by file."""


def names(columns: Iterable[Column]) -> list[str]:
    """The names of the columns, in order."""
    return [column.name for column in columns]


def dtypes(columns: Iterable[Column]) -> dict[str, str]:
    """The types of the columns that are not text, by name."""
    return {column.name: column.dtype for column in columns if column.dtype != "text"}


def markdown() -> str:
    """All tables as Markdown: column, type, unit, meaning, and what stands in for a column that a run lacks."""
    lines: list[str] = []
    for file, columns in FILES.items():
        lines += [f"### `{file}`", "", "| column | type | unit | meaning | where a run lacks it |", "| --- " * 5 + "|"]
        for one in columns:
            absent = "left out" if one.optional else "" if one.stands_in is NEEDED else f"`{one.stands_in}`"
            lines.append(f"| `{one.name}` | {one.dtype} | {one.unit} | {one.meaning} | {absent} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    print(markdown(), end="")
