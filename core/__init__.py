"""What every package may import: errors, interrupts, seeds, files."""
