"""From an image to its label map at the image's own size.

From a shell, for many images and videos: `python -m scripts.segment --help`.
"""

from helpers import face

__getattr__, __all__ = face(
    __name__,
    predict="labels_of load_labels load_model segment segment_batch",
    windows="segment_windows",
)
