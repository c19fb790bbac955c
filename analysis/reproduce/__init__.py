"""The paper's tables and figures again, each beside the paper's own numbers.

    python -m analysis.reproduce table1 ... table8, figure4 ... figure7 [--dataset ml1m] [--devices 300] ...

A target plays what it needs with ``sim.run`` (one run folder a method, shared by all targets and continued when
interrupted), compares the result with the numbers in ``core/printed/``, and writes a CSV, a PNG and a Markdown table.
"""
