"""The command has moved."""

import sys

print("python -m helpers.inference is python -m scripts.segment now", file=sys.stderr)
sys.exit(2)
