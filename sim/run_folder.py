"""The run folder of a configuration: what :mod:`core.run_folder` cannot know, which are options and methods."""

from collections.abc import Mapping
from importlib.metadata import version

from core.run_folder import RunFolder
from sim.config import Config, to_toml
from sim.model_cache import in_order
from strategies.registry import METHODS


def open_run(config: Config) -> RunFolder:
    """The folder of this configuration's run, or a place where it can begin.

    Raises :class:`UserError` if it belongs to another configuration or holds something else.
    """
    return RunFolder.claim(config.folder, config.identity())


def describe_run(run: RunFolder, config: Config, data: Mapping[str, object], facts: Mapping[str, object]) -> None:
    """Write ``config.toml``: the resolved options, the content of the files they name, the data and what they say, the
    versions; and of each method title, note, whose model it deploys and how its devices get their network."""
    options: dict[str, object] = {
        "identity": config.identity(),
        **{key.replace("-", "_"): value for key, value in config.resolved().to_flat().items()},
        "methods": config.method_names,
    }
    for key in ("out", "quiet", "data_dir", "tensorboard"):
        options.pop(key, None)
    packages = ("flwr", "torch", "numpy", "pandas", "ray")
    methods = {name: METHODS[name] for name in config.method_names}
    tables: dict[str, Mapping[str, object]] = {
        "run": options,
        "contents": config.contents(),
        "titles": {name: METHODS[name].title for name in [*methods, *in_order(methods)]},
        "notes": {name: note for name, method in methods.items() if (note := vars(method).get("note"))},
        "models": {name: method.cloud_model for name, method in methods.items()},
        "actions": {name: getattr(method, "train_action", method.evaluate_action) for name, method in methods.items()},
        "data": data,
        "data_facts": facts,
        "versions": {name: version(name) for name in packages},
    }
    run.write_config(to_toml(tables))
