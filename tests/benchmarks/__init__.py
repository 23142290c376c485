"""What the course costs, beside what its readers would use otherwise: `make bench`.

Each `bench_*.py` is a group of rows: its `rows(quick)` yields dictionaries with the keys of
`measuring.KEYS`. `python -m tests.benchmarks --help` says how to run some of them.
"""
