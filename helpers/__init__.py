"""What the notebooks share, one module per subject; see each module's first lines.

Importing the package loads nothing heavy: `torch` and `transformers` come with the modules that
use them.
"""
