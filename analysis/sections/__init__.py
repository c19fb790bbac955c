"""The sections of a report that have no picture, one module each: ``section(run)`` gives it, or None."""
