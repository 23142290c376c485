"""The command has moved."""

import sys

print("python -m helpers.evaluation is python -m scripts.evaluate now", file=sys.stderr)
sys.exit(2)
