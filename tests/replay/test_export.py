"""A device's network as files: the scores of the device's own code, its own weights and no others, clear errors."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from clients import inference, local_training
from clients.local_data import Storage, recent, session_events
from core.errors import UserError
from core.sealed import write_arrays
from models.checkpoint import Sizes, load_device, load_mapper, save_model
from models.cloud_models import AdaptiveModel, StaticModel
from replay.export import Run, _measure, main
from replay.networks import own_network, spread_events

ITEMS, BLOCKS, CONTEXT, MEMORY = 40, 3, 5, 6
SIZES = Sizes("sasrec", ITEMS, BLOCKS, CONTEXT)
PATHS = {"forward-ofa": 0b101, "finetune": 0b111}


def rows(**changes: object) -> pd.DataFrame:
    """Two devices with three sessions of two events; device 1 is not served in its second."""
    out = []
    for method, path in PATHS.items():
        for number in range(2):
            for session in range(3):
                served = (number, session) != (1, 1)
                out.append((0, number, method, session, path if served else 0, served, served))
    frame = pd.DataFrame(out, columns=["seed", "device", "method", "session", "path", "served", "adapted"])
    return frame.assign(hits=1, macs=123_000, tier="mid", status="ok", **changes)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder as the simulation leaves it, with fresh models."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    folder = tmp_path / "run"
    (folder / "world").mkdir(parents=True)
    (folder / "models").mkdir()
    items = np.random.default_rng(0).integers(1, ITEMS + 1, 30).astype(np.int32)
    # histories of 10 and 8 items, then three sessions of two events each
    arrays = {"offsets": [0, 16, 30], "session_offsets": [0, 3, 6], "session_starts": [10, 12, 14, 8, 10, 12]}
    write_arrays(
        folder / "world", {"items": items, **{name: np.array(values) for name, values in arrays.items()}}, {"run": ""}
    )
    extra: dict[str, object] = {"memory": MEMORY, "seed": 0}
    adaptive = AdaptiveModel(SIZES.build(generator), generator, controller=True)
    for head in adaptive.mapper.heads:
        head.data *= 20  # devices differ by more than rounding
    save_model(folder / "models" / "forward-ofa-0.safetensors", adaptive, SIZES, extra | {"method": "forward-ofa"})
    static = StaticModel(SIZES.build(generator), generator)
    save_model(folder / "models" / "devicerec-0.safetensors", static, SIZES, extra | {"method": "devicerec"})
    (folder / "config.toml").write_text(
        f'[run]\nseed = 0\ncontext = {CONTEXT}\nmemory = {MEMORY}\npolicy = "always"\n'
        '[models]\nfinetune = "devicerec"\nforward-ofa = "forward-ofa"\n'
        '[actions]\nfinetune = "evaluate.finetune"\nforward-ofa = "train"\n'
    )
    rows().to_parquet(folder / "sessions.parquet")
    return folder


def ranks_by_the_device(run: Path, method: str, number: int, session: int, adapted: int) -> list[int]:
    """As :mod:`clients.app` computes them."""
    storage = Storage(run / "world")
    past = [storage.before(number, adapted)]
    if method == "forward-ofa":
        file = run / "models" / "forward-ofa-0.safetensors"
        installed, mapper = load_device(file), load_mapper(file)
        latent = inference.request(installed.part, *recent(past, MEMORY)).latent.clone()
        weights = [mapper.block(k, latent) for k in range(BLOCKS)]
    else:
        installed = load_device(run / "models" / "devicerec-0.safetensors")
        assert installed.network is not None
        weights = local_training.tune(installed.part, installed.network, past).weights
    keep = torch.tensor([[bool(PATHS[method] >> k & 1) for k in range(BLOCKS)]])
    events = session_events(
        [storage.before(number, session)], [storage.during(number, session)], CONTEXT, installed.candidates
    )
    found: list[int] = inference.rerank(installed.part, events, lambda k, some: weights[k], keep).ranks[0].tolist()
    return found


def ranks_of(scores: torch.Tensor, targets: torch.Tensor) -> list[int]:
    wanted = scores.gather(1, targets.unsqueeze(1) - 1)
    return (1 + (scores > wanted).sum(1)).tolist()


@pytest.mark.parametrize("method", sorted(PATHS))
def test_the_network_is_the_one_that_the_device_ran(run: Path, method: str) -> None:
    for number in range(2):
        own = own_network(run, number, 2, method, None)
        scores = torch.cat([own.assembled(window) for window in own.windows.split(1)])
        assert ranks_of(scores, own.events.targets[0]) == ranks_by_the_device(run, method, number, 2, adapted=2)
        assert own.assembled.path == tuple(k for k in range(BLOCKS) if PATHS[method] >> k & 1)
        assert own.weights == len(own.assembled.path) * 20_800


def test_a_device_that_remembers_runs_what_it_got_last(run: Path) -> None:
    config = (run / "config.toml").read_text()
    (run / "config.toml").write_text(config.replace('"always"', '"every:2"'))
    rows(adapted=[s != 2 for s in rows()["session"]]).to_parquet(run / "sessions.parquet")
    own = own_network(run, 0, 2, "forward-ofa", None)
    scores = torch.cat([own.assembled(window) for window in own.windows.split(1)])
    assert ranks_of(scores, own.events.targets[0]) == ranks_by_the_device(run, "forward-ofa", 0, 2, adapted=1)
    fresh = own_network(run, 0, 1, "forward-ofa", None)
    assert torch.equal(fresh.assembled.block0, own.assembled.block0)


def test_files_are_written_checked_and_measured(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    assert main([str(run), "--device", "1"]) == 0
    folder = run / "export" / "forward-ofa-1-2"
    assert {path.name for path in folder.iterdir()} == {"network.onnx", "network.pt2", "network.json", "network.csv"}
    own = own_network(run, 1, 2, "forward-ofa", None)
    session = onnxruntime.InferenceSession(folder / "network.onnx", providers=["CPUExecutionProvider"])
    opened = torch.export.load(folder / "network.pt2").module()
    for window in own.windows.split(1):
        expected = own.assembled(window)
        found = session.run(None, {"items": window.numpy()})[0]
        np.testing.assert_allclose(found, expected.numpy(), atol=1e-4)
        torch.testing.assert_close(opened(window), expected)
    # two of three blocks, items and positions, 4 bytes each, and little else
    numbers = 2 * 20_800 + (ITEMS + 1 + CONTEXT) * 64
    assert numbers * 4 < (folder / "network.onnx").stat().st_size < numbers * 4 + 60_000
    facts = json.loads((folder / "network.json").read_text())
    assert (facts["device"], facts["blocks"], facts["input"]) == (1, [1, 3], [1, CONTEXT])
    measured = pd.read_csv(folder / "network.csv")
    assert measured["kind"].tolist() == ["PyTorch", "torch export", "ONNX"]
    assert (measured["median_us"] > 0).all()
    assert (measured["largest_difference"] < 1e-4).all()
    assert (measured["windows"] == 2).all()
    assert "blocks 1, 3" in capsys.readouterr().out


def test_agreement_by_hand() -> None:
    """A device that has seen item 5 meets items 11 and 1. Before both, items score the less the later they are, but for
    item 20. The file swaps items 1 and 2 in the first window; in the second it puts item 12 before item 10, which is
    the tenth of the candidates 20, 1 to 4 and 6 to 10."""
    events = session_events([np.array([5])], [np.array([11, 1])], CONTEXT, "unseen")
    ours = np.stack([np.arange(20, 0, -1)] * 2) / np.float32(1000)
    theirs = ours.copy()
    theirs[0, [0, 1]], theirs[1, [9, 11]] = ours[0, [1, 0]], ours[1, [11, 9]]
    ours[:, 19] = theirs[:, 19] = 100  # so that the scores spread

    def given(scores: np.ndarray) -> Run:
        return lambda window: scores[[int(11 in window)]]

    plain, file = _measure({"PyTorch": given(ours), "ONNX": given(theirs)}, {}, events.windows[0, :1], events)
    assert (plain.largest_difference, plain.same_scores, plain.same_lists, plain.shared_items) == (0, 1, 1, 1)
    assert file.largest_difference == pytest.approx(0.002)
    assert (file.same_scores, file.windows, file.same_lists) == (1, 2, 0)
    assert file.shared_items == pytest.approx((1 + 0.9) / 2)
    assert (plain.hits, file.hits) == (1, 1)  # of item 11 at place 11, and of item 1 at 2


def test_files_are_checked_on_sessions_of_all_devices(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    own = own_network(run, 1, 2, "forward-ofa", None)
    storage = Storage(run / "world")
    events = spread_events(run, own, 2)
    assert torch.equal(events.targets, torch.tensor(np.stack([storage.during(0, 0), storage.during(1, 2)])).long())
    assert torch.equal(events.windows[1], own.events.windows[0])
    assert len(spread_events(run, own, 100).targets) == 6
    out = tmp_path / "out"
    assert main([str(run), "--device", "1", "--bits", "8", "--check", "6", "--out", str(out)]) == 0
    measured = pd.read_csv(out / "network.csv").set_index("kind")
    assert (measured["windows"] == 12).all()
    assert (measured["same_lists"] == 1).all()
    assert measured.loc["ONNX, 8 bits", "same_scores"] == 1


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--device", "2"], "has no device 2; its devices are 0 to 1"),
        (["--device", "-1"], "has no device -1"),
        (["--device", "1", "--session", "1"], "its budget did not allow it; sessions with one: 0, 2"),
        (["--device", "1", "--session", "9"], "has no session 9; its sessions are 0 to 2"),
        (["--device", "1", "--method", "duet"], "no method 'duet'; it has finetune, forward-ofa"),
        (["--device", "1", "--seed", "3"], "no seed 3; it has 0"),
    ],
)
def test_what_there_is_not_is_one_clear_line(
    run: Path, options: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(run), *options]) == 2
    error = capsys.readouterr().err.strip()
    assert why in error
    assert len(error.splitlines()) == 1
    assert not (run / "export").exists()


def test_a_folder_that_is_no_finished_run_is_one_clear_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(run / "models"), "--device", "0"]) == 2
    assert "is not a run folder" in capsys.readouterr().err
    (run / "sessions.parquet").unlink()
    assert main([str(run), "--device", "0"]) == 2
    assert "is unfinished" in capsys.readouterr().err
    (run / "config.toml").write_text("[run]\nseed = 0\n")
    with pytest.raises(UserError, match=r"no table \[models\].*another version"):
        own_network(run, 0, None, None, None)


def test_without_onnxruntime_the_error_names_the_extra(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert main([str(run), "--device", "0"]) == 2
    assert "onnxruntime is not installed; pip install 'forward-ofa-sim[export]'" in capsys.readouterr().err
    assert not (run / "export").exists()


def test_a_network_of_integers_is_our_own_in_8_bits(run: Path, tmp_path: Path) -> None:
    """Its file multiplies integers, and is less than half as large as the one in single precision."""
    onnx = pytest.importorskip("onnx")
    arguments = [str(run), "--device", "0", "--bits", "8", "--out", str(tmp_path / "out")]
    assert main(arguments) == 0
    rows = pd.read_csv(tmp_path / "out" / "network.csv").to_dict("records")
    by = {one["kind"]: one for one in rows}
    assert list(by) == ["PyTorch", "torch export", "ONNX", "PyTorch, 8 bits", "ONNX, 8 bits"]
    assert by["ONNX, 8 bits"]["mbyte"] < by["ONNX"]["mbyte"] / 2
    assert by["ONNX, 8 bits"]["hits"] == by["PyTorch, 8 bits"]["hits"]
    model = onnx.load(tmp_path / "out" / "network-int8.onnx")
    products = [node.op_type for node in model.graph.node if node.op_type in ("MatMul", "Gemm", "MatMulInteger")]
    assert set(products) == {"MatMulInteger"}
    assert len(products) == 2 * 5 + 1  # two blocks of three layers and two products of attention; the scores
    whole = (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)
    weights = [one for one in model.graph.initializer if one.data_type in whole]
    assert sum(int(np.prod(one.dims)) for one in weights) >= 2 * 20_480 + ITEMS * 64
