"""What a run keeps of its requests is what messages held; and what becomes of a run whose devices alter them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from clients.messages import DeviceRequest
from core.errors import UserError
from core.run_folder import RunFolder
from core.schema import LATENT
from replay.counterfactual import replay
from replay.networks import own_network
from sim import run
from sim.config import Config
from strategies import adaptive
from tests.support import untrained
from tests.support.runs import Stopped, own_cache, sessions, small_config, stop_after


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_cache(tmp_path, monkeypatch)
    untrained.install(monkeypatch)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return small_config(tmp_path, devices=8, sessions=3, methods="devicerec,forward-ofa", uploads=True)


def uploads(config: Config) -> pd.DataFrame:
    return RunFolder(config.folder).uploads()


def test_uploads_are_what_the_messages_held(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    read, seen = adaptive.read_request, []

    def noted(*args):  # type: ignore[no-untyped-def]
        found = read(*args)
        if isinstance(found, DeviceRequest):
            seen.append((int(np.packbits(found.path, bitorder="little")[0]), found.latent.tobytes()))
        return found

    monkeypatch.setattr(adaptive, "read_request", noted)
    run.main(config)
    kept = uploads(config)
    assert len(kept) == len(seen) > 8
    found = [(path, row.tobytes()) for path, row in zip(kept["path"], kept[list(LATENT)].to_numpy(), strict=True)]
    assert sorted(found) == sorted(seen)
    rows = sessions(config.folder).query("requested")
    both = kept.merge(rows, on=["seed", "method", "device", "session"])
    assert len(both) == len(kept) == len(rows)
    assert (kept["past"] > 0).all()
    assert kept.query("session == 1")["past"].gt(kept.query("session == 0")["past"].min()).all()

    plain = replace(config, uploads=False, out=config.folder.parent / "plain")
    run.main(plain)
    pd.testing.assert_frame_equal(sessions(plain.folder), sessions(config.folder), check_exact=True)
    with pytest.raises(UserError, match="play it with --uploads"):
        uploads(plain)


def test_a_killed_run_and_one_of_fewer_nodes_keep_the_same(config: Config, tmp_path: Path) -> None:
    run.main(config)
    few = replace(config, supernodes=3, out=tmp_path / "few")
    with pytest.MonkeyPatch.context() as patch:
        stop_after(4, patch, RunFolder, "save_part")
        with pytest.raises(Stopped):
            run.main(few)
    (few.folder / "parts" / "0-forward-ofa-00001.uploads.parquet").write_bytes(b"damaged")
    run.main(few)
    # A group of devices of another size rounds the last digit of a latent interest differently.
    pd.testing.assert_frame_equal(uploads(few), uploads(config), check_exact=False, rtol=1e-4, atol=1e-5)
    pd.testing.assert_frame_equal(sessions(few.folder), sessions(config.folder), check_exact=True)


@pytest.mark.parametrize(
    ("options", "bits"),
    [
        ({"latent_bits": "8"}, 8 + 64 * 8 + 32),
        ({"latent_bits": "4", "latent_clip": 1.5, "latent_noise": 0.2}, 8 + 64 * 4 + 32),
        ({"upload": "path"}, 8),
    ],
)
def test_rows_count_what_was_sent_and_networks_are_not_made_again(
    config: Config, options: dict[str, object], bits: int
) -> None:
    altered = replace(config, **options)  # type: ignore[arg-type]
    run.main(altered)
    rows, kept = sessions(altered.folder).query("method == 'forward-ofa'"), uploads(altered)
    assert (rows["bits_up"] == bits).all()
    assert (rows["status"] == "ok").all()
    assert kept[list(LATENT)].isna().all(axis=None) == (options.get("upload") == "path")
    if "latent_noise" in options:
        assert np.linalg.norm(kept[list(LATENT)].to_numpy(), axis=1).std() > 0
    for again in (lambda: replay(altered.folder, "forward-ofa", 0), lambda: own_network(altered.folder, 0, 0, None, 0)):
        with pytest.raises(UserError, match=f"was played with .*--{next(iter(options)).replace('_', '-')}"):
            again()
    assert own_network(altered.folder, 0, 0, "devicerec", 0).method == "devicerec"


def test_of_a_path_alone_every_device_gets_the_same_network(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    pack, made = adaptive.pack_network, []

    def noted(path, weights, *coding):  # type: ignore[no-untyped-def]
        made.append((path.tobytes(), b"".join(weights[k].tobytes() for k in sorted(weights))))
        return pack(path, weights, *coding)

    monkeypatch.setattr(adaptive, "pack_network", noted)
    run.main(replace(config, upload="path"))
    assert len(set(made)) == len({path for path, _ in made}) < len(made)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"latent_noise": 1.0}, "--latent-noise counts multiples of --latent-clip"),
        ({"latent_clip": 0.0}, "--latent-clip is 0.0; it must be greater than 0"),
        ({"latent_bits": "16"}, "16"),
        ({"upload": "path", "latent_bits": "8"}, "--upload path sends no latent interest"),
        ({"upload": "path", "delivery": "local"}, "--delivery local sends no latent interest"),
        ({"latent_bits": "4", "delivery": "local"}, "--delivery local sends no latent interest"),
        ({"upload": "path", "split": "time", "retrain": 5.0}, "leave out --retrain"),
    ],
)
def test_what_cannot_be_is_one_line(options: dict[str, object], match: str) -> None:
    with pytest.raises(UserError, match=match):
        replace(Config(), **options).check()  # type: ignore[arg-type]
