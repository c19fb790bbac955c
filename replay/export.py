"""A device's own network as files: what one would put on a phone.

    python -m replay.export RUN --device 17 [--session S] [--method M] [--seed K] [--bits 8] [--check N] [--out DIR]

Assembles the network that the device ran in that session of a finished run (its path, its own block weights), and
writes it as ``network.onnx`` (for onnxruntime and others), ``network.pt2`` (a torch export), ``network.json`` (what it
is) and ``network.csv`` (a row for each way to run it: what was measured). Both files are opened again and compared with
our own network, in scores and in first ten items, on the device's own windows of that session, or with ``--check`` on
those of so many sessions of all devices. Time is that of single inferences with one thread on this machine.

A compressed network is written as the plain layers that it stands for. With ``--bits 8`` there is ``network-int8.onnx``
beside them: 8-bit integers, multiplied as such (MatMulInteger), compared with our own network in 8 bits
(:mod:`models.arithmetic`) and timed beside the others.

Input: the most recent items ``(1, context)``, 64-bit item numbers from 1, left-padded with 0. Output: scores
``(1, items)``; column ``i`` is item ``i + 1``.
"""

import argparse
import json
import logging
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from core.cli import run as run_command
from core.errors import UserError
from core.interrupts import terminated_like_interrupted


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    found = argparse.ArgumentParser(
        prog="python -m replay.export", description="Write a device's own network as ONNX and as a torch export."
    )
    found.add_argument("run", type=Path, help="folder of a finished run")
    found.add_argument("--device", type=int, required=True, help="number of the device, from 0")
    found.add_argument("--session", type=int, help="number of the session, from 0 (default: its last)")
    found.add_argument("--method", help="default: forward-ofa, or the run's last one")
    found.add_argument("--seed", type=int, help="whose training (default: the run's first)")
    found.add_argument("--bits", type=int, choices=(32, 8), default=32, help="8: an ONNX file of 8-bit integers, too")
    found.add_argument("--check", type=int, help="check on so many sessions of the run (default: on its own alone)")
    found.add_argument("--out", type=Path, help="folder (default: RUN/export/METHOD-DEVICE-SESSION)")
    return found


if __name__ == "__main__":  # a wrong option and --help need none of the imports below, which take seconds
    parser().parse_args()


import numpy as np
import pandas as pd
import torch
from rich import box
from rich.table import Table
from torch import Tensor, nn

from analysis.tables import console
from clients.local_data import SessionEvents
from core.threads import one_thread
from models.arithmetic import ARITHMETICS, computed_in
from models.integer_standalone import IntegerStandalone
from models.metrics import hits, listed, ranks
from models.standalone import Standalone
from replay.networks import OwnNetwork, own_network, spread_events
from replay.timing import durations

REPEATS = 200
TOLERANCE = 1e-3
"""Largest difference of a score, relative to the spread of scores, at which two networks count as the same."""
INTEGER_TOLERANCE = 0.1
"""The same in 8 bits: where a norm is rounded otherwise in its last digit, an activation may take the next integer, and
what follows from it is as large as what quantising changes."""
INTEGER, INTEGER_FILE = "PyTorch, 8 bits", "ONNX, 8 bits"

Run = Callable[[Tensor], np.ndarray]
"""From a window ``(1, context)`` to scores ``(1, items)``."""


@dataclass(frozen=True)
class Written:
    """One way to run the network, as measured."""

    kind: str
    file: str
    mbyte: float
    """Of the file, 10^6 bytes; 0 for our own network, which has none."""
    median_us: float
    p95_us: float
    windows: int
    """On which it is compared with our own network in the same precision; what follows is over them."""
    largest_difference: float
    """Of a score."""
    same_scores: float
    """Share in which none differs by more than :data:`TOLERANCE` allows."""
    same_lists: float
    """Share whose first ten candidates are the same in the same order."""
    shared_items: float
    """Of the first ten candidates those that both have, as a share, mean."""
    hits: int
    """Of the item that followed, at cut-off 10."""


def export(own: OwnNetwork, out: Path, bits: int = 32, events: SessionEvents | None = None) -> list[Written]:
    """Write the files into ``out`` and check them; nothing is left there if one of them is not the same network.

    With 8 ``bits`` one of them is in 8-bit integers. They are checked on ``events``; None: on those of the session.
    """
    runtime = _onnxruntime()
    module = own.assembled
    out.mkdir(parents=True, exist_ok=True)
    with terminated_like_interrupted(), tempfile.TemporaryDirectory(dir=out) as draft:
        files = {"torch export": Path(draft) / "network.pt2", "ONNX": Path(draft) / "network.onnx"}
        _write(module, own.windows[:1], files["torch export"], files["ONNX"])
        runs = {
            "PyTorch": lambda window: np.asarray(module(window)),
            "torch export": _opened_torch(files["torch export"]),
            "ONNX": _opened_onnx(runtime, files["ONNX"]),
        }
        if bits == 8:
            files[INTEGER_FILE] = Path(draft) / "network-int8.onnx"
            _write_onnx(IntegerStandalone(module), own.windows[:1], files[INTEGER_FILE])
            integer = computed_in(module, ARITHMETICS[8])
            runs[INTEGER] = lambda window: np.asarray(integer(window))
            runs[INTEGER_FILE] = _opened_onnx(runtime, files[INTEGER_FILE])
        measured = _measure(runs, files, own.windows[:1], own.events if events is None else events)
        report = {**own.facts(), "input": list(own.windows[:1].shape)}
        (Path(draft) / "network.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        pd.DataFrame([asdict(one) for one in measured]).to_csv(Path(draft) / "network.csv", index=False)
        for name in (*(file.name for file in files.values()), "network.json", "network.csv"):
            (Path(draft) / name).replace(out / name)
    return measured


def _onnxruntime() -> Any:
    try:
        import onnx  # noqa: F401
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(f"{error.name} is not installed; pip install 'forward-ofa-sim[export]'") from None
    return onnxruntime


def _write(module: Standalone, window: Tensor, torch_file: Path, onnx_file: Path) -> None:
    torch.export.save(_write_onnx(module, window, onnx_file), torch_file)


def _write_onnx(module: nn.Module, window: Tensor, onnx_file: Path) -> Any:
    """Write the ONNX file and give the torch export that it was made of."""
    for name in ("torch.onnx", "onnxscript"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporters' own making
        exported = torch.export.export(module, (window,))
        torch.onnx.export(
            exported,
            (window,),
            onnx_file,
            input_names=["items"],
            output_names=["scores"],
            dynamo=True,
            external_data=False,
            verbose=False,
            custom_translation_table={torch.ops.forward_ofa.integer_product.default: _integer_product},
        )
    _without_traces(onnx_file)
    return exported


def _integer_product(rows: Any, columns: Any) -> Any:
    """In ONNX: a product of 8-bit integers with 32-bit sums.

    Both are written from 1 to 255 with 128 as their zero, which gives the same integers. In onnxruntime signed rows
    have no fast kernel, and unsigned rows with signed columns overflow on processors without an instruction for them.
    """
    from onnx import TensorProto
    from onnxscript import opset18 as op

    middle: Any = 128.0

    def unsigned(x: Any) -> Any:
        return op.Cast(op.Add(op.Cast(x, to=TensorProto.FLOAT), middle), to=TensorProto.UINT8)

    zero = op.Cast(middle, to=TensorProto.UINT8)
    return op.Cast(op.MatMulInteger(unsigned(rows), unsigned(columns), zero, zero), to=TensorProto.FLOAT)


def _without_traces(file: Path) -> None:
    """Take out which line of which file on this machine each node comes from: nobody on a phone reads it."""
    import onnx

    model = onnx.load(file)
    for node in model.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    onnx.save(model, file)


def _opened_torch(file: Path) -> Run:
    opened = torch.export.load(file).module()
    return lambda window: np.asarray(opened(window))


def _opened_onnx(runtime: Any, file: Path) -> Run:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return lambda window: np.asarray(session.run(None, {"items": window.numpy()})[0])


def _measure(runs: dict[str, Run], files: dict[str, Path], window: Tensor, events: SessionEvents) -> list[Written]:
    """Scores over the windows of ``events``, and the time of one inference on ``window``, of each way to run it."""
    real, wanted, seen = events.predictions()
    windows = events.windows[real].split(1)
    with one_thread(), torch.inference_mode():
        scores = {kind: torch.from_numpy(np.concatenate([run(one) for one in windows])) for kind, run in runs.items()}
        taken = durations({kind: partial(run, window) for kind, run in runs.items()}, REPEATS)
    chosen = {kind: found if seen is None else seen.exclude(found.clone()) for kind, found in scores.items()}
    lists = {kind: listed(found) for kind, found in chosen.items()}
    out = []
    for kind, found in scores.items():
        own = INTEGER if kind in (INTEGER, INTEGER_FILE) else "PyTorch"
        tolerance = INTEGER_TOLERANCE if kind == INTEGER_FILE else TOLERANCE
        differences, spread = (found - scores[own]).abs().amax(1), float(scores[own].std())
        if not float(differences.max()) <= tolerance * spread:
            what = f"its scores differ by up to {differences.max():g}"
            raise UserError(f"the {kind} file is not the same network: {what}")
        file = files.get(kind)
        both = lists[kind].unsqueeze(2) == lists[own].unsqueeze(1)
        out.append(
            Written(
                kind,
                file.name if file is not None else "",
                file.stat().st_size / 1e6 if file is not None else 0.0,
                1e6 * float(np.median(taken[kind])),
                1e6 * float(np.percentile(taken[kind], 95)),
                len(windows),
                float(differences.max()),
                float((differences <= TOLERANCE * spread).double().mean()),
                float((lists[kind] == lists[own]).all(1).double().mean()),
                float(both.any(2).double().mean()),
                int(hits(ranks(chosen[kind], wanted)).sum()),
            )
        )
    return out


def table(own: OwnNetwork, measured: Sequence[Written]) -> Table:
    """What was written and measured, for the terminal."""
    blocks = ", ".join(str(k + 1) for k in own.assembled.path) or "none"
    shown = Table(
        title=f"{own.method}, device {own.device} ({own.tier}), session {own.session}: blocks {blocks}",
        caption=f"{own.macs / 1e6:.3g} million MACs; {own.weights:,} own weights; {len(own.windows)} windows in the "
        f"session, {own.hits} hits in the run. Checked on {measured[0].windows:,} windows, in the same precision. "
        "Time: one inference, one thread, here.",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
    )
    for header in ("", "file", "MB", "median\nµs", "largest\ndifference", "same\ntop 10", "hits"):
        shown.add_column(header, justify="left" if header in ("", "file") else "right", no_wrap=True)
    for one in measured:
        size = f"{one.mbyte:.3f}" if one.file else "–"
        cells = f"{one.median_us:,.0f}", f"{one.largest_difference:.1e}", f"{100 * one.same_lists:.1f} %"
        shown.add_row(one.kind, one.file or "–", size, *cells, str(one.hits))
    return shown


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    given = parser().parse_args(arguments)
    return run_command(lambda: _run(given))


def _run(given: argparse.Namespace) -> None:
    own = own_network(given.run.expanduser(), given.device, given.session, given.method, given.seed)
    out = given.out or given.run.expanduser() / "export" / f"{own.method}-{own.device}-{own.session}"
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file; name a folder")
    if given.bits == 8 and own.single:
        raise UserError(f"--bits 8: {own.method} runs in 32 bits alone: {own.single}")
    if given.check is not None and given.check < 1:
        raise UserError(f"--check is {given.check}; it must be at least 1")
    events = None if given.check is None else spread_events(given.run.expanduser(), own, given.check)
    measured = export(own, out, given.bits, events)
    console().print(table(own, measured))
    print(out)


if __name__ == "__main__":
    sys.exit(main())
