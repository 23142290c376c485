"""Fine-tune SegFormer with `transformers.Trainer`, with its defects for this model fixed.

From a shell: `python -m scripts.train --help`; on several processes:
`accelerate launch --num_processes 2 -m scripts.train --profile tiny --output-dir DIR`.
"""

from helpers import face

__getattr__, __all__ = face(
    __name__,
    recipe="build_arguments build_model build_trainer predicted_labels",
    checkpoints="TrainingData",
    exact_trainer="ExactTrainer show_one_bar",
    trainer="SegmentationTrainer",
    loss="dice_loss focal_loss labelled_pixels pixel_cross_entropy",
)
