"""How properties are tried: few examples, always the same ones, so that a failure is one on every machine."""

from hypothesis import Phase, settings

FEW = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],  # explaining a failure takes minutes
)
