"""Score a model as papers do: each image at its own size, by a protocol that is written down.

From a shell: `python -m scripts.evaluate --help`.
"""

from helpers import face

__getattr__, __all__ = face(
    __name__, protocol="Protocol evaluate segment_by_protocol window_starts"
)
