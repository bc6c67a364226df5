"""Benchmarks: ratios of speed measured in one run, with the facts of the machine."""
