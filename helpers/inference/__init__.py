"""From an image to its label map at the image's own size.

From a shell, for many images and videos: `python -m helpers.inference --help`.
"""

from helpers import face

__getattr__, __all__ = face(
    __name__, predict="evaluate_scenes load_model load_image segment segment_batch"
)
