"""Networks that all devices share, plain and compressed."""
