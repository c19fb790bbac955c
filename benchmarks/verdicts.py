"""What may be believed of an altered message: decided from what it says unaltered, not by the code that is tested."""

from typing import Any

import numpy as np
from flwr.app import ArrayRecord, RecordDict

from benchmarks.small_world import BLOCKS, ITEMS
from strategies.wave import DeviceSession


def same(found: RecordDict, known: RecordDict) -> bool:
    """Whether two replies say the same, but for the rounding of a latent interest in a batch of another size."""
    if set(found) != set(known):
        return False
    for name, record in known.items():
        if not isinstance(record, ArrayRecord):
            if found[name] != record:
                return False
        elif any(not np.allclose(found.array_records[name][k].numpy(), record[k].numpy(), atol=1e-6) for k in record):
            return False
    return True


def believable(honest: RecordDict, told: RecordDict, victim: DeviceSession) -> bool:
    """Whether the cloud cannot find that ``told`` differs from ``honest``, the answer of the device."""
    if told == honest:
        return True
    if set(told) == {"measured"} == set(honest) and "events" in honest["measured"]:
        return _believable_report(dict(honest["measured"]), dict(told["measured"]), victim)
    if set(told) - {"measured", "request"}:
        return False
    cost: Any = told["measured"]
    if set(cost) - {"macs", "probe"} or type(cost["macs"]) is not int or not 0 <= cost["macs"] < 2**40:
        return False
    if "request" not in told:
        return True  # a device may ask or not
    if not isinstance(told["request"], ArrayRecord) or set(told["request"]) != {"path", "latent"}:
        return False
    path, latent = (told.array_records["request"][key].numpy() for key in ("path", "latent"))
    bound = np.isfinite(latent).all() and latent.shape == (64,) and latent.dtype == np.float32
    return bool(bound and path.shape == (1,) and path.dtype == np.uint8 and path[0] < 2**BLOCKS)


def _believable_report(honest: dict[str, Any], told: dict[str, Any], victim: DeviceSession) -> bool:
    """Quality is the device's word, as far as it is possible at all; the rest follows from what was sent."""
    if set(honest) != set(told) or any(type(told[name]) is not type(honest[name]) for name in honest):
        return False
    free = {"hits", "ndcg", "hits_stale", "ndcg_stale", "hits_fresh", "ndcg_fresh", "macs_adapt", "macs_decide"}
    free |= {"hits_1", "hits_5", "hits_20", "ndcg_5", "ndcg_20", "mrr"}
    counts = [0, *(told[name] for name in ("hits_1", "hits_5", "hits", "hits_20")), victim.events]
    sums = [told[name] for name in ("hits_1", "ndcg_5", "ndcg", "ndcg_20")]
    if counts != sorted(counts) or sums != sorted(sums) or sums[-1] > counts[-2] * 1.000001:
        return False
    if not counts[1] * 0.999999 <= told["mrr"] <= sums[-1] + (victim.events - counts[-2]) / 21 + 1e-6:
        return False  # 1 / rank is at most 1 / log2(1 + rank)
    for kind in ("", "_stale", "_fresh"):
        if f"hits{kind}" in told:
            hits, ndcg = told[f"hits{kind}"], told[f"ndcg{kind}"]
            if not (0 <= hits <= victim.events and 0.289 * hits <= ndcg <= 1.000001 * hits):
                return False
    if not all(0 <= told[name] < 2**40 for name in ("macs_adapt", "macs_decide")):
        return False
    free |= {"macs", "macs_paper"} if honest["macs"] == told["macs"] or told["macs"] > 0 else set()
    near = all(abs(told[name] - honest[name]) < 0.5 * honest[name] for name in ("macs", "macs_paper"))
    return near and all(told[name] == honest[name] for name in honest if name not in free)


def sensible(honest: RecordDict, told: RecordDict) -> bool:
    """Whether a device can do what ``told`` says, though ``honest`` says something else."""
    if told == honest:
        return True
    for name in set(honest) | set(told):
        if name not in told:
            if name in ("model", "session", "stream"):
                return False
            continue  # without a budget nothing is limited, without a policy a device always adapts
        record: Any = told[name]
        if name not in honest:
            return False
        if name == "stream":
            if not _sensible_stream(record):
                return False
            continue
        if isinstance(record, ArrayRecord):
            if not _sensible_network(record, honest.array_records[name]):
                return False
            continue
        real: Any = honest[name]
        if set(record) != set(real) or any(type(record[key]) is not type(real[key]) for key in real):
            return False
        for key, value in record.items():
            if isinstance(value, float) and not value >= 0:
                return False
            if isinstance(value, int) and key != "seed" and not -1 <= value <= 2**53:
                return False
        fixed = ("digest", "context") if name == "model" else ()
        if any(record[key] != real[key] for key in fixed):
            return False
        if name == "model" and record["history_length"] < 1:
            return False
    return True


def _sensible_stream(record: ArrayRecord) -> bool:
    if not isinstance(record, ArrayRecord) or set(record) != {"past", "now"}:
        return False
    for array in record.values():
        items = np.frombuffer(array.data, dtype="<i4") if len(array.data) % 4 == 0 else np.zeros(1)
        if array.dtype != "int32" or tuple(array.shape) != (len(items),) or not ((items >= 1) & (items <= ITEMS)).all():
            return False
    return len(record["now"].data) > 0


def _sensible_network(record: ArrayRecord, honest: ArrayRecord) -> bool:
    """Weights of the blocks of a path, or codes of them of the type that the honest ones have."""
    if "path" not in record:
        return False
    path = record["path"].numpy()
    if path.shape != (1,) or path.dtype != np.uint8 or path[0] >= 2**BLOCKS:
        return False
    kinds = {key.partition(".")[0]: array for key, array in honest.items() if key != "path"}
    named = {f"{kind}.{k}" for k in range(BLOCKS) if path[0] >> k & 1 for kind in kinds}
    if set(record) - {"path"} != named:
        return False
    for key in named:
        kind, array = key.partition(".")[0], record[key].numpy()
        if array.shape != tuple(kinds[kind].shape) or array.dtype != np.dtype(kinds[kind].dtype):
            return False
        if not np.isfinite(array).all() or (kind == "scale" and (array < 0).any()):
            return False
    return True
