"""The command has moved."""

import sys

print("python -m helpers.training is python -m scripts.train now", file=sys.stderr)
sys.exit(2)
