"""Reads finished runs: tables, figures, the report."""
