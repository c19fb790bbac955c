"""The columns of a run's own tables, and the words that stand in them."""

from core.schema.column import CHANGE, COUNT, MACS, MASK, NUMBER, SHARE, SUM, Column

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

_NAN = float("nan")
_COMPARED, _SAMPLED, _RETRAIN = "--compare-stale", "--evaluate sampled:N", "--retrain"
_MONTH = "in the sessions that begin within 30 days of a device's first"
_STALE, _FRESH = "the network of the last adaptation", "the network that an adaptation before this session gives"

SESSIONS = (
    Column("seed", "int64", NUMBER, "seed of training and of the devices' draws"),
    Column("device", "int32", NUMBER, "number of the device, from 0"),
    Column("method", "text", "text", "name of the method, as on the command line"),
    Column("session", "int32", NUMBER, "number of the session, from 0"),
    Column("events", "int32", COUNT, "predictions of the session: its interactions whose item is a candidate"),
    Column("repeats", "int32", COUNT, "interactions whose item is no candidate, since the device has seen it", 0),
    Column("hits", "int32", COUNT, "events whose item was among the first 10, counted"),
    Column("ndcg", "float64", SUM, "NDCG at cut-off 10, summed over the events"),
    Column("requested", "bool", "yes or no", "whether the device asked the cloud for a network before the session"),
    Column("path", "int64", MASK, "bit mask of the blocks that the device ran; bit 0 is the first block"),
    Column("blocks", "int32", COUNT, "number of blocks that the device ran"),
    Column("macs", "int64", MACS, "multiply-accumulates of one inference, counted from the layers that ran"),
    Column("macs_paper", "int64", MACS, "multiply-accumulates of one inference, counted as the paper does"),
    Column(
        "macs_session", "int64", MACS,
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
        "budget_macs", "float64", MACS,
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
    Column(
        "user", "int32", NUMBER, "number of the user in the data set, from 0; `device` in runs that lack it",
        stands_in=-1, signed=True,
    ),
    Column("hits_1", "int32", COUNT, "events whose item was ranked first, counted", _NAN, missing=True),
    Column("hits_5", "int32", COUNT, "events whose item was among the first 5, counted", _NAN, missing=True),
    Column("hits_20", "int32", COUNT, "events whose item was among the first 20, counted", _NAN, missing=True),
    Column("ndcg_5", "float64", SUM, "NDCG at cut-off 5, summed over the events", _NAN, missing=True),
    Column("ndcg_20", "float64", SUM, "NDCG at cut-off 20, summed over the events", _NAN, missing=True),
    Column("mrr", "float64", SUM, "1 / rank, summed over the events, without a cut-off", _NAN, missing=True),
    Column(
        "hits_sampled", "float64", COUNT,
        f"with {_SAMPLED}: events whose item was among the first 10 of 1 + N sampled candidates, counted",
        optional=_SAMPLED, missing=True,
    ),
    Column(
        "ndcg_sampled", "float64", SUM,
        f"with {_SAMPLED}: NDCG at cut-off 10 among 1 + N sampled candidates, summed over the events",
        optional=_SAMPLED, missing=True,
    ),
    Column("version", "int32", NUMBER, f"with {_RETRAIN}: version of the cloud model, from 0", optional=_RETRAIN),
    Column(
        "bits_installed", "int64", "bit",
        "bits of the model that was installed for the session, apart from bits_down: in a device's first one, and with "
        f"{_RETRAIN} in the first with each version",
        stands_in=_NAN, missing=True,
    ),
    Column("hits_stale", "float64", COUNT, f"with {_COMPARED}: hits with {_STALE}", optional=_COMPARED, missing=True),
    Column(
        "ndcg_stale", "float64", SUM, f"with {_COMPARED}: NDCG, summed over the events, with {_STALE}",
        optional=_COMPARED, missing=True,
    ),
    Column("hits_fresh", "float64", COUNT, f"with {_COMPARED}: hits with {_FRESH}", optional=_COMPARED, missing=True),
    Column(
        "ndcg_fresh", "float64", SUM, f"with {_COMPARED}: NDCG, summed over the events, with {_FRESH}",
        optional=_COMPARED, missing=True,
    ),
)  # fmt: skip
"""The columns of ``sessions.parquet``, in this order: it has one row per seed, method, device and session."""

LATENT = tuple(f"latent_{k}" for k in range(64))
"""The columns of a latent interest."""

UPLOADS = (
    Column("seed", "int64", NUMBER, "seed of training and of the devices' draws"),
    Column("device", "int32", NUMBER, "number of the device, from 0"),
    Column("method", "text", "text", "name of the method, as on the command line"),
    Column("session", "int32", NUMBER, "number of the session, from 0"),
    Column("past", "int64", COUNT, "interactions of the device before the session: when it asked"),
    Column("path", "int64", MASK, "the path that it asked for; bit 0 is the first block"),
    *(
        Column(
            name, "float32", NUMBER, "of the latent interest as the cloud read it; NaN where none was sent",
            missing=True, signed=True,
        )
        for name in LATENT
    ),
)  # fmt: skip
"""The columns of ``uploads.parquet`` (``--uploads``): a row per seed, method and request that arrived, in the order of
rounds."""

SUMMARY = (
    Column("method", "text", "text", "name of the method"),
    Column("devices", "int64", COUNT, "devices that played"),
    Column("sessions", "int64", COUNT, "device-sessions, over all seeds"),
    Column("events", "int64", COUNT, "predicted interactions, over all seeds"),
    Column("hit@10", "float64", SHARE, "hits divided by events"),
    Column("ndcg@10", "float64", SHARE, "summed NDCG divided by events"),
    Column(
        "macs_m", "float64", f"10^6 {MACS}", "multiply-accumulates of one inference, mean over events where served",
        missing=True,
    ),
    Column(
        "param_mbit", "float64", "10^6 bit", "weights of the network that ran, mean over device-sessions served",
        missing=True,
    ),
    Column("requests_per_session", "float64", "requests a session", "requests to the cloud, mean over device-sessions"),
    Column("uplink_kbit", "float64", "10^3 bit", "bits sent, mean over device-sessions"),
    Column("downlink_mbit", "float64", "10^6 bit", "bits received, mean over device-sessions"),
    Column("served", "float64", "share", "share of device-sessions in which the device could run the network"),
    Column("seconds_adapt", "float64", "s", "seconds until the device had its network, mean over device-sessions"),
    Column("joules", "float64", "J", "energy of the device, mean over device-sessions"),
    Column("macs_paper_m", "float64", f"10^6 {MACS}", "as macs_m, counted as the paper does", missing=True),
    Column(
        "macs_session_m", "float64", f"10^6 {MACS}",
        "multiply-accumulates of the device (extractors, training too), mean over device-sessions", missing=True,
    ),
    Column("blocks", "float64", COUNT, "blocks that ran, mean over device-sessions served", missing=True),
    Column(
        "seconds_inference", "float64", "s", "seconds of one inference, mean over events where served", missing=True,
    ),
    Column("seeds", "int64", COUNT, "seeds that were played"),
    Column("hit@10_sd", "float64", SHARE, "standard deviation of hit@10 over seeds; NaN of one", missing=True),
    Column("ndcg@10_sd", "float64", SHARE, "standard deviation of ndcg@10 over seeds; NaN of one", missing=True),
    Column("ndcg@10_low", "float64", SHARE, "lower end of the 95 % bootstrap interval over devices", missing=True),
    Column("ndcg@10_high", "float64", SHARE, "upper end of the 95 % bootstrap interval over devices", missing=True),
    Column(
        "ndcg@10_delta", "float64", CHANGE, "ndcg@10 minus DeviceRec's, over the devices that both have",
        missing=True, signed=True,
    ),
    Column(
        "ndcg@10_delta_low", "float64", CHANGE, "lower end of the 95 % paired bootstrap interval of the difference",
        missing=True, signed=True,
    ),
    Column(
        "ndcg@10_delta_high", "float64", CHANGE, "upper end of the 95 % paired bootstrap interval of the difference",
        missing=True, signed=True,
    ),
    Column(
        "ndcg@10_p", "float64", SHARE, "two-sided p-value of the difference, paired bootstrap over devices",
        missing=True,
    ),
    Column("hit@1", "float64", SHARE, "hits at cut-off 1 divided by events", missing=True),
    Column("hit@5", "float64", SHARE, "hits at cut-off 5 divided by events", missing=True),
    Column("hit@20", "float64", SHARE, "hits at cut-off 20 divided by events", missing=True),
    Column("ndcg@1", "float64", SHARE, "NDCG at cut-off 1, which equals hit@1", missing=True),
    Column("ndcg@5", "float64", SHARE, "summed NDCG at cut-off 5 divided by events", missing=True),
    Column("ndcg@20", "float64", SHARE, "summed NDCG at cut-off 20 divided by events", missing=True),
    Column("mrr", "float64", SHARE, "mean reciprocal rank of the events, without a cut-off", missing=True),
    Column(
        "hit@10_sampled", "float64", SHARE, f"with {_SAMPLED}: hit@10 among 1 + N sampled candidates", missing=True,
    ),
    Column(
        "ndcg@10_sampled", "float64", SHARE, f"with {_SAMPLED}: ndcg@10 among 1 + N sampled candidates", missing=True,
    ),
    Column(
        "coverage", "float64", SHARE,
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

SEEDS = (
    Column("method", "text", "text", "name of the method"),
    Column("seed", "int64", NUMBER, "seed of training and of the devices' draws"),
    *(
        next(column for column in SUMMARY if column.name == name)
        for name in (
            *("devices", "sessions", "events", "hit@10", "ndcg@10", "ndcg@10_low", "ndcg@10_high"),
            *("ndcg@10_delta", "ndcg@10_delta_low", "ndcg@10_delta_high", "ndcg@10_p"),
        )
    ),
)
"""The columns of ``seeds.csv``, which a run of several seeds has: ``summary.csv`` of each seed alone."""

PAIRS = (
    Column("method", "text", "text", "name of the method"),
    Column("against", "text", "text", "name of the method that it is compared with"),
    Column("devices", "int64", COUNT, "devices that all methods have"),
    Column("ndcg@10_against", "float64", SHARE, "NDCG@10 of the method that it is compared with, on these devices"),
    Column("ndcg@10_delta", "float64", CHANGE, "NDCG@10 of the method minus that, over all seeds", signed=True),
    Column("ndcg@10_delta_low", "float64", CHANGE, "lower end of its 95 % paired interval", signed=True),
    Column("ndcg@10_delta_high", "float64", CHANGE, "upper end of its interval", signed=True),
    Column("ndcg@10_p", "float64", SHARE, "two-sided p-value of the difference, paired bootstrap over devices"),
)
"""The columns of ``pairs.csv``: one row per method and other method."""

COVERAGE = (
    Column("seed", "int64", NUMBER, "seed of training and of the devices' draws"),
    Column("method", "text", "text", "name of the method"),
    Column(
        "recommended", "float64", COUNT,
        "items among the first 10 before at least one event of any device; empty where it is not known", missing=True,
    ),
    Column("items", "int64", COUNT, "items of the data set"),
    Column(
        "bits_installed", "float64", "bit",
        "bits of the model that is on every device before its first session: shared part, network, table of counts, "
        "what it makes networks of",
        stands_in=_NAN, missing=True,
    ),
    Column(
        "month_sessions", "float64", COUNT, f"sessions {_MONTH}, mean over devices", stands_in=_NAN, missing=True,
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
    Column("seed", "int64", NUMBER, "seed of the training"),
    Column("epoch", "int64", NUMBER, "number of the epoch, from 1"),
    Column("loss", "float64", "nats", "training loss, mean over the epoch", signed=True),
    Column("valid_ndcg@10", "float64", SHARE, "NDCG@10 on the devices' validation items, among the candidates"),
    Column("valid_hit@10", "float64", SHARE, "Hit@10 on the devices' validation items, among the candidates"),
    Column("seconds", "float64", "s", "seconds that the epoch took (measured)"),
    Column("best", "bool", "yes or no", "whether this epoch's weights were kept"),
)
"""The columns of ``training.csv``: it has one row per trained cloud model, seed and epoch."""

RETRAINING = (
    *TRAINING,
    Column("version", "int64", NUMBER, "version of the cloud model, from 1"),
    Column("until", "int64", "s", "instant until which this version knows the interactions, in the data's own time"),
    Column("interactions", "int64", COUNT, "interactions that it was trained on"),
)
"""The columns of ``retraining.csv`` (``--retrain``): one row per later version, trained cloud model, seed and epoch."""

TIERS = (
    Column("tier", "text", "text", "kind of device, the slowest first"),
    Column("method", "text", "text", "name of the method"),
    Column("devices", "int64", COUNT, "devices of this kind"),
    Column("sessions", "int64", COUNT, "their device-sessions, over all seeds"),
    Column("ndcg@10", "float64", SHARE, "summed NDCG divided by events"),
    Column("low", "float64", SHARE, "lower end of its 95 % bootstrap interval over devices"),
    Column("high", "float64", SHARE, "upper end of its interval"),
    Column("hit@10", "float64", SHARE, "hits divided by events"),
    Column("served", "float64", "share", "share of device-sessions in which the device could run the network"),
    Column("blocks", "float64", COUNT, "blocks, mean over the device-sessions that ran a network"),
    Column("macs_m", "float64", f"10^6 {MACS}", "multiply-accumulates of one inference, mean over events where served"),
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
    Column("worst", "float64", SHARE, "its NDCG@10, over all its events"),
    Column("best_tier", "text", "text", "kind of device with the highest NDCG@10"),
    Column("best", "float64", SHARE, "its NDCG@10, over all its events"),
    Column("ratio", "float64", "ratio", "worst divided by best"),
    Column("low", "float64", "ratio", "lower end of the ratio's 95 % bootstrap interval over devices"),
    Column("high", "float64", "ratio", "upper end of its interval"),
    Column("mdac", "float64", "ratio", "as in summary.csv"),
)
"""Of ``figures/fairness.csv``: one row per method; of a comparison's ``fairness.csv`` also by ``setting``."""

AROUND = (
    Column("method", "text", "text", "name of the method"),
    Column("devices", "int64", COUNT, "devices that play after their change"),
    Column("both", "int64", COUNT, "of them, devices that play before it, too"),
    Column("before", "float64", SHARE, "NDCG@10 of the sessions before the change, of the devices that have both"),
    Column("during", "float64", SHARE, "of the sessions in which it happens, of the same devices"),
    Column("kept", "float64", "ratio", "NDCG@10 after the change over that before it, of the same devices"),
    Column("after", "float64", SHARE, "of the sessions after it, of all devices that have any"),
    Column("after_low", "float64", SHARE, "lower end of its interval"),
    Column("after_high", "float64", SHARE, "upper end of its interval"),
    Column("after_delta", "float64", CHANGE, "after minus DeviceRec's, over the same devices; NaN without DeviceRec"),
    Column("after_delta_low", "float64", CHANGE, "lower end of its paired interval"),
    Column("after_delta_high", "float64", CHANGE, "upper end of its interval"),
    Column("after_p", "float64", SHARE, "two-sided p-value of the difference, paired bootstrap over devices"),
    Column("after_relative", "float64", "share", "after_delta as a share of DeviceRec's after, over the same devices"),
    Column("after_relative_low", "float64", "share", "lower end of its paired interval"),
    Column("after_relative_high", "float64", "share", "upper end of its interval"),
    Column(
        "recovery", "float64", "sessions",
        "until 90 % of the level before is back, on average over the devices that play then; NaN: not in the run",
    ),
    Column("recovery_low", "float64", "sessions", "lower end of its interval, over the draws in which it came back"),
    Column("recovery_high", "float64", "sessions", "upper end of its interval"),
    Column("unrecovered", "float64", "share", "share of the draws in which it did not come back"),
    Column(
        "second", "float64", "ratio",
        "NDCG@10 of the second session after that of the change over the level before of the devices that play it; "
        "NaN: not in the run",
    ),
    Column("second_low", "float64", "ratio", "lower end of its interval"),
    Column("second_high", "float64", "ratio", "upper end of its interval"),
)  # fmt: skip
"""Of a run's ``around.csv``; in a comparison's, rows have ``world``, ``policy`` and the NDCG@10 of all sessions before
it."""
