"""What the course costs, beside what its readers would use otherwise: `make bench`.

Each `bench_*.py` is a group of rows: its `rows(quick)` yields what `measuring` makes.
"""
