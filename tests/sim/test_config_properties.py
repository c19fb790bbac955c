"""A configuration survives every form it takes: Flower's scalars, and TOML."""

import math
import tomllib
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from sim.config import Config, to_toml
from tests.support.properties import FEW

# What a name of a file may hold and a TOML string must escape: quotes, backslashes, tabs, control and other letters.
texts = st.text(st.sampled_from("ab/\\\"'\n\t\r\x7f\x01 =#[]äß漢\U0001f600"), min_size=1, max_size=12)
positive = st.one_of(st.floats(1e-12, 1e300), st.sampled_from([math.inf, 1e16, 1e-7, 30.0]))
whole = st.integers(1, 2**62)
configs = st.builds(
    replace,
    st.just(Config()),
    dataset=texts,
    devices=whole,
    scenario=texts,
    drift=texts,
    policy=texts,
    blocks=st.none() | whole,
    context=st.none() | whole,
    memory=st.none() | whole,
    session_gap=positive,
    sessions=st.none() | whole,
    learning_rate=st.none() | positive,
    penalty=st.none() | positive,
    request_rate=st.none() | st.floats(0.01, 1),
    epochs=st.none() | whole,
    compare_stale=st.booleans(),
    quiet=st.booleans(),
    seed=st.integers(0, 2**62),
    data_dir=st.none() | texts.filter(lambda text: str(Path(text)) == text).map(Path),
    out=st.none() | texts.filter(lambda text: str(Path(text)) == text).map(Path),
)


@FEW
@given(config=configs)
def test_a_configuration_is_the_same_after_it_was_flat(config: Config) -> None:
    flat = config.to_flat()
    assert all(isinstance(value, bool | int | float | str) for value in flat.values())
    assert Config.from_flat(flat) == config
    assert Config.from_flat({**dict.fromkeys(Config().to_flat(), ""), **flat}) == config  # "" is an option not given


scalars = st.one_of(texts, st.text(max_size=8), st.booleans(), st.integers(-(2**62), 2**62), positive)
tables = st.dictionaries(
    st.from_regex(r"[a-z_-]{1,8}", fullmatch=True),
    st.dictionaries(st.from_regex(r"[a-z_-]{1,8}", fullmatch=True), scalars | st.lists(texts, max_size=3), max_size=4),
    max_size=3,
)


@FEW
@given(content=tables)
def test_toml_is_read_as_it_was_written(content: dict[str, dict[str, object]]) -> None:
    found = tomllib.loads(to_toml(content))
    assert found == content
    for name, table in content.items():
        assert [type(value) for value in found[name].values()] == [type(value) for value in table.values()]


@FEW
@given(config=configs)
def test_a_configuration_is_the_same_after_it_was_toml(config: Config) -> None:
    written = to_toml({"run": config.to_flat()})
    assert Config.from_flat(tomllib.loads(written)["run"]) == config


@FEW
@given(config=configs)
def test_an_option_that_is_not_given_is_not_written(config: Config) -> None:
    assert not [key for key, value in config.to_flat().items() if value is None]
    content = {"run": {"a": None, "b": 1}}
    assert tomllib.loads(to_toml(content)) == {"run": {"b": 1}}
