"""A device's own network as files: what one would put on a phone.

    python -m replay.export RUN --device 17 [--session S] [--method M] [--seed K] [--bits 8] [--out DIR]

Assembles the network that the device ran in that session of a finished run (its path, its own block weights), and
writes it as ``network.onnx`` (for onnxruntime and others), ``network.pt2`` (a torch export) and ``network.json`` (what
it is and what was measured). Both files are opened again and compared with our own network on the device's own windows
of that session; time is that of single inferences with one thread on this machine.

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
    found.add_argument("--out", type=Path, help="folder (default: RUN/export/METHOD-DEVICE-SESSION)")
    return found


if __name__ == "__main__":  # a wrong option and --help need none of the imports below, which take seconds
    parser().parse_args()


import numpy as np
import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from core.threads import one_thread
from models.arithmetic import ARITHMETICS, computed_in
from models.integer_standalone import IntegerStandalone
from models.metrics import hits, ranks
from models.standalone import Standalone
from replay.networks import OwnNetwork, own_network
from replay.timing import durations

REPEATS = 200
TOLERANCE = 1e-3
"""Largest difference of a score, relative to the spread of scores, at which two networks count as the same."""
INTEGER_TOLERANCE = 0.05
"""The same in 8 bits: where a norm is rounded otherwise in its last digit, an activation may take the next integer."""
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
    largest_difference: float
    """Of a score, to our own network in the same precision, over the device's windows."""
    hits: int
    """Of the session's events, at cut-off 10."""


def export(own: OwnNetwork, out: Path, bits: int = 32) -> list[Written]:
    """Write the files into ``out`` and check them; nothing is left there if one of them is not the same network.

    With 8 ``bits`` one of them is in 8-bit integers.
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
        measured = _measure(runs, files, own)
        report = {**own.facts(), "input": list(own.windows[:1].shape), "runs": [asdict(one) for one in measured]}
        (Path(draft) / "network.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        for name in (*(file.name for file in files.values()), "network.json"):
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
    """In ONNX: a product of 8-bit integers with 32-bit sums."""
    from onnx import TensorProto
    from onnxscript import opset18 as op

    left: Any = op.Cast(rows, to=TensorProto.INT8)
    right: Any = op.Cast(columns, to=TensorProto.INT8)
    return op.Cast(op.MatMulInteger(left, right), to=TensorProto.FLOAT)


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


def _measure(runs: dict[str, Run], files: dict[str, Path], own: OwnNetwork) -> list[Written]:
    """Scores over the windows of the session, and the time of one inference, of each way to run the network."""
    with one_thread(), torch.inference_mode():
        scores = {kind: np.concatenate([run(window) for window in own.windows.split(1)]) for kind, run in runs.items()}
        taken = durations({kind: partial(run, own.windows[:1]) for kind, run in runs.items()}, REPEATS)
    out = []
    for kind, found in scores.items():
        ours = scores[INTEGER if kind in (INTEGER, INTEGER_FILE) else "PyTorch"]
        tolerance = INTEGER_TOLERANCE if kind == INTEGER_FILE else TOLERANCE
        difference = float(np.abs(found - ours).max())
        if not difference <= tolerance * float(ours.std()):
            raise UserError(f"the {kind} file is not the same network: its scores differ by up to {difference:g}")
        file = files.get(kind)
        out.append(
            Written(
                kind,
                file.name if file is not None else "",
                file.stat().st_size / 1e6 if file is not None else 0.0,
                1e6 * float(np.median(taken[kind])),
                1e6 * float(np.percentile(taken[kind], 95)),
                difference,
                _hits(torch.from_numpy(found), own),
            )
        )
    return out


def _hits(scores: Tensor, own: OwnNetwork) -> int:
    """Hits of the session's predictions ``(N, num_items)`` among the candidates, at cut-off 10."""
    _, wanted, seen = own.events.predictions()
    return int(hits(ranks(scores if seen is None else seen.exclude(scores.clone()), wanted)).sum())


def table(own: OwnNetwork, measured: Sequence[Written]) -> Table:
    """What was written and measured, for the terminal."""
    blocks = ", ".join(str(k + 1) for k in own.assembled.path) or "none"
    shown = Table(
        title=f"{own.method}, device {own.device} ({own.tier}), session {own.session}: blocks {blocks}",
        caption=f"{own.macs / 1e6:.3g} million MACs; {own.weights:,} own weights; {len(own.windows)} windows of the "
        f"session, {own.hits} hits in the run. Time: one inference, one thread, here.",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
    )
    for header in ("", "file", "MB", "median µs", "95 % µs", "largest\ndifference", "hits"):
        shown.add_column(header, justify="left" if header in ("", "file") else "right", no_wrap=True)
    for one in measured:
        size = f"{one.mbyte:.3f}" if one.file else "–"
        times = (f"{one.median_us:,.0f}", f"{one.p95_us:,.0f}")
        shown.add_row(one.kind, one.file or "–", size, *times, f"{one.largest_difference:.1e}", str(one.hits))
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
    measured = export(own, out, given.bits)
    Console().print(table(own, measured))
    print(out)


if __name__ == "__main__":
    sys.exit(main())
