"""Training recipes: ours, and the paper's hyperparameters (section 4.1.4)."""

from models.candidates import Candidates
from strategies.training.learner import Recipe

PAPER_PENALTY = {
    "sasrec": {"ml1m": 0.005, "ml10m": 0.01, "amazon-game": 0.001, "amazon-food": 0.005},
    "nextitnet": {"ml1m": 0.001, "ml10m": 0.001, "amazon-game": 0.001, "amazon-food": 0.001},
}
"""lambda, the weight of the compact constraint."""

PAPER_TEMPERATURE = {
    "sasrec": {"ml1m": 5.0, "ml10m": 6.0, "amazon-game": 5.0, "amazon-food": 7.0},
    "nextitnet": {"ml1m": 12.0, "ml10m": 7.0, "amazon-game": 6.0, "amazon-food": 6.0},
}
"""tau of the Gumbel-softmax gates."""


PAPER_LEARNING_RATE = {"sasrec": 0.001, "nextitnet": 0.002}

PAPER_KEPT = {
    "sasrec": {"ml1m": 1.0, "ml10m": 1.0, "amazon-game": 117_800 / 124_800, "amazon-food": 113_638 / 124_800},
    "nextitnet": dict.fromkeys(("ml1m", "ml10m", "amazon-game", "amazon-food"), 171_200 / 299_520),
}
"""The share of the weights that Rare Gem keeps, from the paper's Table 1."""

PAPER_EPOCHS = 20
"""The paper trains all methods for the same number of epochs and does not say how many."""


GENERATED = {"synthetic": Recipe(learning_rate=0.01, dropout=0.1, max_epochs=10, spread=0.0)}
"""Recipes for generated data in our own protocol. The next item follows from the last one and the user's type, and
there is plenty to learn that from: what keeps a network from overfitting holds it up, and so do counts of followers,
which know no types. So a first run ends soon."""


def rare_gem_kept(*, protocol: str, backbone: str, dataset: str) -> float:
    """The share of the weights that Rare Gem keeps: the paper's; in our own protocol its smallest one."""
    known = PAPER_KEPT[backbone]
    return known.get(dataset, known["ml1m"]) if protocol == "paper" else min(known.values())


def recipe_for(
    *,
    protocol: str,
    backbone: str,
    dataset: str,
    targets: str | None,
    learning_rate: float | None,
    epochs: int | None,
    patience: int | None,
    penalty: float | None,
    temperature: float | None,
    memory: int,
    candidates: Candidates = "all",
    spread: float | None = None,
) -> Recipe:
    """The recipe of a protocol; what is given as None comes from the protocol's presets.

    ``paper`` trains on one target for every (prefix, next item) with the paper's lambda and tau (those of MovieLens-1M
    for data the paper does not use) and for equally many epochs; ``stream`` trains on sessions, with early stopping.
    Where an epoch is selected, it is by averaged weights; the paper's equal epochs end with those of the last step.
    """
    paper = protocol == "paper"
    standard = Recipe() if paper else GENERATED.get(dataset, Recipe())
    targets = targets or ("last" if paper else standard.targets)
    if penalty is None:
        known = PAPER_PENALTY[backbone]
        penalty = known.get(dataset, known["ml1m"]) if paper else standard.penalty
    if temperature is None:
        known = PAPER_TEMPERATURE[backbone]
        temperature = known.get(dataset, known["ml1m"]) if paper else standard.temperature
    if patience is None:
        patience = 0 if paper else standard.patience
    return Recipe(
        learning_rate=learning_rate or (PAPER_LEARNING_RATE[backbone] if paper else standard.learning_rate),
        dropout=standard.dropout,
        max_epochs=epochs or (PAPER_EPOCHS if paper else standard.max_epochs),
        patience=patience,
        averaged=standard.averaged if patience else 0.0,
        penalty=penalty,
        temperature=temperature,
        targets=targets,
        batch=1024 if targets == "last" else standard.batch,
        memory=memory,
        candidates=candidates,
        spread=(0.0 if paper else standard.spread) if spread is None else spread,
    )
