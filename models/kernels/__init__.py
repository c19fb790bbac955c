"""Fast twins of plain PyTorch operations."""
