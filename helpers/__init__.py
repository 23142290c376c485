"""What the notebooks share, one module or package per subject; see each one's first lines.

Importing the package loads nothing heavy: `torch` and `transformers` come with the modules that
use them.
"""

from __future__ import annotations

import os

if "OMP_WAIT_POLICY" not in os.environ:
    # torch's threads wait for one another by counting; beside another busy process that takes
    # minutes for seconds. GNU's OpenMP reads this when torch is imported.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

# From 1.29 on, ONNX Runtime gives each machine a number and reports each session to Microsoft,
# unless this is set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
