"""The columns of the tables of a comparison of runs, and of an attack on them."""

from core.schema.column import CHANGE, COUNT, NUMBER, SHARE, Column
from core.schema.run import SUMMARY

PAIRED = (
    Column("method", "text", "text", "name of the method"),
    Column("reference", "text", "text", "the setting that is compared with"),
    Column("setting", "text", "text", "the setting that is compared"),
    Column(
        "devices", "int64", COUNT, "users that are devices of both; 0 if they share none: then there is no difference"
    ),
    Column("seeds", "int64", COUNT, "seeds that both have: all numbers of the row are of these"),
    Column("ndcg@10_reference", "float64", SHARE, "NDCG@10 of these devices in the reference"),
    Column("ndcg@10_delta", "float64", CHANGE, "NDCG@10 of these devices minus that in the reference"),
    Column("ndcg@10_delta_low", "float64", CHANGE, "lower end of the 95 % paired bootstrap interval"),
    Column("ndcg@10_delta_high", "float64", CHANGE, "upper end of the 95 % paired bootstrap interval"),
    Column("ndcg@10_p", "float64", SHARE, "two-sided p-value, paired bootstrap over devices"),
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
        SHARE,
        "of the last ten new items of a live stream, the share that an attacker names who reads all requests of the "
        "device (recall@10 of `privacy.csv`); where nothing is asked, one who reads none",
        missing=True,
    ),
)
"""Of a comparison's ``deliveries.csv``: one row per setting and method whose networks are delivered."""

ASKING = (
    Column("method", "text", "text", "name of the method"),
    Column("rate", "float64", "share", "sessions after a device's first in which it adapted"),
    Column("mbit", "float64", "10^6 bit", "per device-session, both directions"),
    Column(
        "seconds", "float64", "s",
        "of adapting, mean over device-sessions (simulated): training on the device, or computing and waiting",
    ),
    Column("ndcg@10", "float64", SHARE, "over all events"),
    Column("low", "float64", SHARE, "lower end of its interval"),
    Column("high", "float64", SHARE, "upper end of its interval"),
    Column(
        "delay", "float64", "sessions", "from the change to the next adaptation, mean over the devices that adapt then",
    ),
    Column("noticed", "float64", "share", "of the devices with sessions after the change: they adapt in one of them"),
    Column(
        "false_alarms", "float64", "share",
        "of the sessions that start before the change, or without one: the device adapted",
    ),
    Column(
        "gain_all", "float64", CHANGE,
        "NDCG@10 that a fresh network gains over the stale one, mean over the events after a device's first session; "
        "NaN: not measured",
    ),
    Column("gain_low", "float64", CHANGE, "lower end of its interval"),
    Column("gain_high", "float64", CHANGE, "upper end of its interval"),
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
    Column("devicerec", "float64", SHARE, "NDCG@10 of DeviceRec in this world; NaN if it was not played"),
    *ASKING,
    Column(
        "random_delta", "float64", CHANGE,
        "NDCG@10 minus that of the policy random with the same budget, over the same devices",
    ),
    Column("random_low", "float64", CHANGE, "lower end of its paired interval"),
    Column("random_high", "float64", CHANGE, "upper end of its interval"),
    Column("random_p", "float64", SHARE, "two-sided p-value, paired bootstrap over devices"),
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
    Column("value", "float64", SHARE, "what the attack reaches, mean over attackers"),
    Column("low", "float64", SHARE, "lower end of its 95 % bootstrap interval over devices", missing=True),
    Column("high", "float64", SHARE, "upper end of its interval", missing=True),
    Column("sd", "float64", SHARE, "standard deviation over attackers; NaN of one", missing=True),
    Column("attackers", "int64", COUNT, "attackers, each trained with a seed of its own, times the seeds of the run"),
    Column("devices", "int64", COUNT, "devices of the run"),
    Column("requests", "int64", COUNT, "requests that arrived, over all seeds"),
    Column("quality", "float64", SHARE, "NDCG@10 of the method in this run"),
    Column("bits_up", "float64", "bit", "bits of a request, mean"),
    Column("epsilon_session", "float64", NUMBER, "of the latent interest of one session, delta 1e-5", infinite=True),
    Column("epsilon_run", "float64", NUMBER, "of all requests of the device that made most", infinite=True),
)  # fmt: skip
"""Of ``privacy.csv``: what requests give away, one row per method, measure and attack."""
