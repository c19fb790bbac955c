"""What a device's requests give away to a cloud that looks for it: the machinery of ``python -m analysis.privacy``."""
