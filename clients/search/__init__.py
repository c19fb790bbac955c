"""LitePred's search for a path on the device."""
