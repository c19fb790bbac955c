"""Commands that run the networks of a finished run again."""
