"""The figures of docs/benchmarks.md, each measured and printed by one module."""
