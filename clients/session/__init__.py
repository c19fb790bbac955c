"""The ways a device plays a session."""
