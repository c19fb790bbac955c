"""Options: defaults, checks, the way through Flower's run configuration, and what makes two runs the same."""

from dataclasses import fields, replace
from pathlib import Path

import pytest

from sim.config import Config, to_toml
from sim.errors import UserError


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


def test_the_identity_is_what_decides_results(tmp_path: Path) -> None:
    base = Config()
    assert replace(base, out=tmp_path, data_dir=tmp_path, quiet=True, accelerator="cpu").identity() == base.identity()
    assert len({replace(base, seed=s).identity() for s in range(3)} | {base.identity()}) == 3
    assert base.absolute().identity() == base.identity()


def test_toml_that_is_written_is_toml_that_is_read() -> None:
    import tomllib

    table = {"a": 1, "b": 0.5, "c": 'x "y" \\ z', "d": ["p", "q"], "e": True, "f": None}
    assert tomllib.loads(to_toml({"t": table})) == {"t": {k: v for k, v in table.items() if v is not None}}


def test_flwr_run_knows_every_option_with_its_default() -> None:
    import tomllib

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    table = project["tool"]["flwr"]["app"]["config"]
    assert set(table) == {item.name.replace("_", "-") for item in fields(Config)}
    assert replace(Config.from_flat(table), devices=Config().devices) == Config()
