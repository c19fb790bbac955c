"""What a run folder believes: parts of its own rounds, its own finished rows, the config.toml that it wrote."""

import hashlib
from pathlib import Path

import pandas as pd
import pytest

from core.errors import Damaged, UserError
from core.run_folder import RunFolder, finished_options, read_config, read_sessions

ROWS = pd.DataFrame({"device": [0, 1], "ndcg": [0.5, 0.25], "status": ["ok", "ok"]})


def begun(path: Path, identity: str = "abc") -> RunFolder:
    run = RunFolder(path)
    run.write_config(f'[run]\nidentity = "{identity}"\nseed = 0\n[data]\nname = "tiny"\n')
    return run


def test_the_config_says_its_own_digest_in_a_comment(tmp_path: Path) -> None:
    run = begun(tmp_path)
    first, _, rest = (tmp_path / "config.toml").read_text().partition("\n")
    assert first == f"# sha256 of the lines below: {hashlib.sha256(rest.encode()).hexdigest()}"
    assert read_config(tmp_path, "data")["data"] == {"name": "tiny"}
    assert run.identity == "abc"


def test_every_flipped_bit_and_every_cut_of_the_config_is_refused_or_harmless(tmp_path: Path) -> None:
    begun(tmp_path)
    path = tmp_path / "config.toml"
    content = path.read_bytes()
    right, first = read_config(tmp_path), content.index(b"\n") + 1
    for bit in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            found = read_config(tmp_path)
        except UserError:
            continue
        assert bit // 8 < first, "a flipped bit below the first line is believed"
        assert found == right
    for end in range(len(content)):
        path.write_bytes(content[:end])
        with pytest.raises(UserError):
            read_config(tmp_path)


def test_a_damaged_config_is_refused_when_the_run_goes_on_and_nothing_is_written(tmp_path: Path) -> None:
    begun(tmp_path)
    path = tmp_path / "config.toml"
    for content in (b"", path.read_bytes()[:40], path.read_bytes().replace(b"seed = 0", b"seed = 1")):
        path.write_bytes(content)
        with pytest.raises(UserError, match=rf"{path} is damaged: .*; play the run again into an empty folder"):
            RunFolder.claim(tmp_path, "abc")
        assert path.read_bytes() == content


def test_a_folder_is_claimed_by_its_own_run_alone(tmp_path: Path) -> None:
    begun(tmp_path / "run")
    assert RunFolder.claim(tmp_path / "run", "abc").begun
    with pytest.raises(UserError, match=r"belongs to another configuration \(abc, this one is xyz\)"):
        RunFolder.claim(tmp_path / "run", "xyz")
    assert not RunFolder.claim(tmp_path / "new", "abc").begun
    for name in (".lock", ".config.toml.0123abcd.part", "run.log"):  # what a killed start leaves
        (tmp_path / "new").mkdir(exist_ok=True)
        (tmp_path / "new" / name).touch()
    RunFolder.claim(tmp_path / "new", "abc")
    (tmp_path / "new" / "thesis.tex").touch()
    with pytest.raises(UserError, match="exists and is no run folder"):
        RunFolder.claim(tmp_path / "new", "abc")


def test_a_part_of_another_round_seed_method_or_run_is_played_again(tmp_path: Path) -> None:
    run, other = begun(tmp_path / "run"), begun(tmp_path / "other", "xyz")
    wrong = {
        "round": run.part(0, "duet", 2),
        "seed": run.part(1, "duet", 1),
        "method": run.part(0, "sttd", 1),
        "run": other.part(0, "duet", 1),
    }
    run.save_part(0, "duet", 2, ROWS)
    run.save_part(1, "duet", 1, ROWS)
    run.save_part(0, "sttd", 1, ROWS)
    other.save_part(0, "duet", 1, ROWS)
    for fact, path in wrong.items():
        run.part(0, "duet", 1).write_bytes(path.read_bytes())
        with pytest.raises(Damaged, match=f"is not the right file: its {fact} is"):
            run.read_part(0, "duet", 1)
        said: list[str] = []
        assert run.check_parts(0, "duet", [1, 2, 3], said.append) == [2]
        assert len(said) == 1
        assert said[0].endswith("; round 1 of duet is played again")
        assert not run.part(0, "duet", 1).exists()
    run.save_part(0, "duet", 1, ROWS)
    assert run.read_part(0, "duet", 1).equals(ROWS)


@pytest.mark.parametrize("content", [b"", b"PAR1"])
def test_an_empty_or_cut_part_is_played_again(tmp_path: Path, content: bytes) -> None:
    run = begun(tmp_path)
    run.save_part(0, "duet", 1, ROWS)
    run.part(0, "duet", 1).write_bytes(content)
    with pytest.raises(Damaged):
        run.gather([0], ["duet"], 1)
    assert run.check_parts(0, "duet", [1], [].append) == []


def test_finished_rows_have_a_checksum_beside_them_that_any_tool_can_check(tmp_path: Path) -> None:
    run = begun(tmp_path)
    run.save_part(0, "duet", 1, ROWS)
    with pytest.raises(UserError, match="is unfinished"):
        finished_options(tmp_path)
    run.finish(run.gather([0], ["duet"], 1))
    digest, name = (tmp_path / "sessions.sha256").read_text().split()
    assert digest == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
    assert pd.read_parquet(tmp_path / "sessions.parquet").equals(ROWS)
    assert run.rows().equals(ROWS)
    assert not (tmp_path / "parts").exists()


def test_finished_rows_that_are_not_what_the_run_wrote_are_refused(tmp_path: Path) -> None:
    run, other = begun(tmp_path / "run"), begun(tmp_path / "other", "xyz")
    for one in (run, other):
        one.finish(ROWS)
    content = run.sessions.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    for damaged in (b"", content[:-20], bytes(flipped), other.sessions.read_bytes()):
        run.sessions.write_bytes(damaged)
        with pytest.raises(UserError, match=r"sessions\.parquet is damaged: .*; delete it and start"):
            read_sessions(run.path)
    run.sessions.write_bytes(other.sessions.read_bytes())
    (run.path / "sessions.sha256").write_bytes((other.path / "sessions.sha256").read_bytes())
    with pytest.raises(UserError, match="its run is xyz, not abc"):
        read_sessions(run.path)
    run.sessions.write_bytes(content)
    (run.path / "sessions.sha256").unlink()
    with pytest.raises(UserError, match=r"sessions\.sha256 is missing"):
        read_sessions(run.path)


def test_a_run_of_an_earlier_version_without_digests_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[run]\nseed = 0\n")
    ROWS.to_parquet(tmp_path / "sessions.parquet", index=False)
    assert read_sessions(tmp_path).equals(ROWS)
