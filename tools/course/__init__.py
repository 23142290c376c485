"""Making of the course: `python -m tools.course --help` lists the commands."""
