"""Options: defaults, checks, the way through Flower's run configuration, and what makes two runs the same."""

import re
import tomllib
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.errors import UserError
from models.checkpoint import BACKBONES
from sim.config import DEFAULT_BLOCKS, DEFAULT_CONTEXT, Config, choices, to_toml
from sim.world.streams import SHORTEST


def test_defaults_follow_backbone_and_protocol() -> None:
    assert (Config().resolved_blocks, Config().resolved_context, Config().resolved_memory) == (6, 10, 50)
    paper = Config(backbone="nextitnet", protocol="paper")
    assert (paper.resolved_blocks, paper.resolved_context, paper.resolved_memory) == (12, 5, 5)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"methods": "devicerec,forwardofa"}, "did you mean 'forward-ofa'"),
        ({"methods": ""}, "names no method"),
        ({"methods": "duet,duet"}, "twice"),
        ({"backbone": "bert4rec"}, "unknown backbone 'bert4rec'"),
        ({"policy": "sometimes"}, "unknown policy"),
        ({"protocol": "strem"}, "did you mean 'stream'"),
        ({"context": 0}, "--context is 0"),
        ({"session_length": 0}, "--session-length is 0"),
        ({"devices": 0}, "--devices is 0"),
        ({"session_gap": 0.0}, "--session-gap is 0"),
        ({"penalty": -1.0}, "--penalty is -1"),
        (
            {"split": "time", "retrain": 7.0, "drift": "abrupt"},
            "--retrain with --drift abrupt: later versions would learn",
        ),
        ({"policy": "every:2.5"}, "it must be a whole number"),
        ({"policy": "oracle:1.5"}, "it must be a whole number"),
        ({"evaluate": "sampled"}, "--evaluate is 'sampled'; it must be full, or sampled:N"),
        ({"evaluate": "sampled:0"}, "--evaluate is 'sampled:0'"),
        ({"evaluate": "sampled:1e3"}, "--evaluate is 'sampled:1e3'"),
        ({"evaluate": "sampled:1000001"}, "N from 1 to 1,000,000"),
        ({"evaluate": "all:100"}, "--evaluate is 'all:100'"),
        *(
            ({item.name: value}, re.escape(f"--{item.name.replace('_', '-')} is {value}; it must be finite"))
            for item in fields(Config)
            if "float" in str(item.type)
            for value in (float("nan"), float("inf"), -float("inf"), 1e300)
            if (item.name, value) != ("session_gap", float("inf"))
        ),
    ],
)
def test_what_cannot_be_is_one_clear_line(change: dict[str, object], why: str) -> None:
    with pytest.raises(UserError, match=why) as error:
        replace(Config(), **change).check()  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


def test_through_flowers_run_configuration_and_back() -> None:
    config = Config(dataset="ml1m", sessions=3, penalty=1.0, out=Path("somewhere"), quiet=True, session_gap=15)
    assert Config.from_flat(config.to_flat()) == config
    with pytest.raises(UserError, match="did you mean 'devices'"):
        Config.from_flat({"device": 3})


@pytest.mark.parametrize(
    ("option", "value", "why"),
    [
        ("learning-rate", "fast", "not a number"),
        ("devices", "many", "not a whole number"),
        ("devices", 2.5, "not a whole number"),
        ("epochs", True, "not a whole number"),
        ("quiet", "perhaps", "not true or false"),
    ],
)
def test_a_value_of_another_type_in_flowers_run_configuration_is_one_line(option: str, value: object, why: str) -> None:
    with pytest.raises(UserError, match=f"--{option} is .*{why}"):
        Config.from_flat({option: value})


def test_what_an_option_may_be_is_what_there_is() -> None:
    assert choices("backbone") == tuple(BACKBONES) == tuple(DEFAULT_BLOCKS)
    assert choices("protocol") == tuple(SHORTEST) == tuple(DEFAULT_CONTEXT)
    assert choices("targets") == ("session", "last")
    assert choices("methods") == ()


def test_the_identity_is_what_decides_results(tmp_path: Path) -> None:
    base = Config()
    assert replace(base, out=tmp_path, data_dir=tmp_path, quiet=True, accelerator="cpu").identity() == base.identity()
    assert len({replace(base, seed=s).identity() for s in range(3)} | {base.identity()}) == 3
    assert base.absolute().identity() == base.identity()
    written_out = replace(base, references="none", methods=",".join(base.method_names), context=10, candidates="unseen")
    assert written_out.identity() == base.identity() == base.resolved().identity()
    assert replace(base, candidates="all").identity() != base.identity()


SCALARS = st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()


@given(st.dictionaries(st.text(), st.none() | SCALARS | st.lists(st.text())))
@example({"gap": float("inf"), "text": 'a "quoted"\n\r\\ line ü \x00\x1f\x7f', "key.with.dots": "x", "": ""})
def test_toml_that_is_written_is_toml_that_is_read(table: dict[str, object]) -> None:
    kept = {key: value for key, value in table.items() if value is not None}
    assert tomllib.loads(to_toml({"t": table}).encode().decode()) == {"t": kept}


@given(
    st.builds(
        Config,
        dataset=st.text(min_size=1),
        scenario=st.text(min_size=1),
        session_gap=st.floats(allow_nan=False),
        learning_rate=st.none() | st.floats(allow_nan=False),
        sessions=st.none() | st.integers(),
        compare_stale=st.booleans(),
        out=st.none() | st.builds(Path, st.text(min_size=1)),
    )
)
@example(Config(session_gap=float("inf"), session_length=4))
def test_through_flowers_run_configuration_as_toml_and_back(config: Config) -> None:
    assert Config.from_flat(tomllib.loads(to_toml({"config": config.to_flat()}))["config"]) == config


def test_flwr_run_knows_every_option_with_its_default() -> None:
    root = Path(__file__).parents[2]
    app = tomllib.loads((root / "app" / "pyproject.toml").read_text(encoding="utf-8"))
    table = app["tool"]["flwr"]["app"]["config"]
    assert set(table) == {item.name.replace("_", "-") for item in fields(Config)}
    assert replace(Config.from_flat(table), devices=Config().devices) == Config()
    package = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert [app["project"][key] for key in ("version", "license")] == [package[key] for key in ("version", "license")]
    assert [path.name for path in (root / "app").iterdir()] == ["pyproject.toml"]  # Flower bundles the whole folder


def test_an_edited_data_file_is_another_run(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("user,item,timestamp\na,x,1\n")
    before = Config(dataset=str(file)).identity()
    assert Config(dataset=str(file)).identity() == before
    file.write_text("user,item,timestamp\na,y,1\nb,y,2\n")
    assert Config(dataset=str(file)).identity() != before
    assert Config(dataset="ml1m").identity() == Config(dataset="ml1m").identity()


def test_an_edited_mix_or_drift_is_another_run_and_a_renamed_one_is_not(tmp_path: Path) -> None:
    mix, base, trace = tmp_path / "mix.toml", tmp_path / "base.toml", tmp_path / "busy.csv"
    drift = tmp_path / "drift.toml"

    def write(*, busy: str = "0.5", gflops: int = 5, share: float = 1.0, severity: float = 1.0) -> str:
        trace.write_text(f"device,session,factor\n0,0,{busy}\n")
        base.write_text(f'[cloud]\ngflops = {gflops}\n[availability]\ntrace = "busy.csv"\n')
        mix.write_text(f'base = "base.toml"\n[shares]\nphone = {share}\n')
        drift.write_text(f'kind = "abrupt"\nshare = 0.8\nonset = 0.5\nseverity = {severity}\n')
        return Config(scenario=str(mix), drift=str(drift)).identity()

    first = write()
    edits = [write(share=0.9), write(gflops=6), write(busy="0.25"), write(severity=0.5)]
    assert len({first, *edits}) == 5
    assert write() == first
    mix.rename(tmp_path / "other.toml")
    assert Config(scenario=str(tmp_path / "other.toml"), drift=str(drift)).identity() == first


def test_the_identity_knows_what_a_shipped_mix_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("phones", "uniform"):
        (tmp_path / "scenarios").mkdir(exist_ok=True)
        (tmp_path / "scenarios" / f"{name}.toml").write_text('base = "phones"\n' if name == "uniform" else "x = 1\n")
    monkeypatch.setattr("sim.world.fingerprint.resources.files", lambda package: tmp_path)
    before = Config(scenario="uniform").identity()
    (tmp_path / "scenarios" / "phones.toml").write_text("x = 2\n")  # what uniform is built on
    assert Config(scenario="uniform").identity() != before


def test_a_mix_without_end_or_without_a_file_has_an_identity_too(tmp_path: Path) -> None:
    circle = tmp_path / "circle.toml"
    circle.write_text('base = "circle.toml"\n')
    names = [str(circle), str(tmp_path / "missing.toml"), "paper-devise"]
    assert all(len(Config(scenario=name).identity()) == 8 for name in names)


def test_a_sample_of_candidates_is_part_of_what_a_run_is() -> None:
    assert (Config().sampled, Config(evaluate="sampled:100").sampled) == (0, 100)
    assert len({Config(evaluate=value).identity() for value in ("full", "sampled:100", "sampled:101")}) == 3
