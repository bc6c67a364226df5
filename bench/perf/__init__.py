"""Benchmarks: ratios measured in one run, on a machine that is named."""
