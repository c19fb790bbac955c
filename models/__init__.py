"""Pure PyTorch: backbones whose block weights are arguments, extractors, controller, mapper."""
