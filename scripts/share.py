"""A trained model to the Hub with a card, by the calls that notebook 09 shows.

Nothing here happens by itself: a model leaves the machine only with `--push-to-hub`. The token
comes from `HF_TOKEN` or the login store (`hf auth login`), and goes to the Hub only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import EvalResult, HfApi, ModelCard, ModelCardData
from huggingface_hub.errors import HfHubHTTPError, HTTPError, LocalTokenNotFoundError
from huggingface_hub.utils import validate_repo_id

from helpers.labels import NAMES_FILE, RULES_FILE
from helpers.profiles import Profile

# Not checkpoints, nor training_args.bin: that is a pickle and knows this machine's paths.
_SHARED = ["config.json", "preprocessor_config.json", "model.safetensors", "README.md"]
_SHARED += [NAMES_FILE, RULES_FILE]


def check_token(repo_id: str) -> None:
    """Make sure that somebody is logged in, before hours are spent on what is to be uploaded."""
    validate_repo_id(repo_id)
    with _explained(repo_id):
        HfApi().whoami()


def model_card(name: str, profile: Profile, mean_iou: float) -> ModelCard:
    """Describe a model that was trained by a profile and scored on its validation split."""
    data, encoder = _shown(profile.dataset), _shown(profile.encoder)
    facts = ModelCardData(
        license="other",
        library_name="transformers",
        pipeline_tag="image-segmentation",
        datasets=None if Path(profile.dataset).exists() else data,
        base_model=None if Path(profile.encoder).exists() else encoder,
        model_name=name,
        eval_results=EvalResult(
            task_type="image-segmentation",
            dataset_type=data,
            dataset_name=data,
            dataset_split="validation",
            metric_type="mean_iou",
            metric_value=round(mean_iou, 4),
        ),
    )
    return ModelCard(
        f"---\n{facts.to_yaml()}\n---\n\n# {name}\n\n"
        f"A semantic segmentation model for {profile.labels.num_labels} classes, fine-tuned from "
        f"`{encoder}` on `{data}`. Mean IoU on the validation split: {mean_iou:.4f}; classes "
        "that occur neither in predictions nor in annotations are left out.\n\n"
        "Licence: other. The training data and the pretrained weights have terms of their own, "
        "which bind whoever uses this model.\n"
    )


def share(folder: Path, repo_id: str, card: ModelCard) -> str:
    """Upload a saved model, its image processor, labels and card; the address of its page.

    Args:
        folder: as `save_pretrained` writes it; the card is saved there as README.md.
        repo_id: NAME or OWNER/NAME; a new repository is private.
        card: from `model_card`.
    """
    card.save(folder / "README.md")
    with _explained(repo_id):
        repository = HfApi().create_repo(repo_id, private=True, exist_ok=True)
        HfApi().upload_folder(
            repo_id=repository.repo_id, folder_path=folder, allow_patterns=_SHARED
        )
    return str(repository)


def _shown(source: str) -> str:
    """A Hub id, or the last part of a path: the rest means something on this machine only."""
    return Path(source).name if Path(source).exists() else source


@contextmanager
def _explained(repo_id: str) -> Iterator[None]:
    try:
        yield
    except LocalTokenNotFoundError as error:
        raise PermissionError(
            f"uploading to {repo_id} needs a token with the right to write: log in with "
            "`hf auth login`, or set HF_TOKEN"
        ) from error
    except HfHubHTTPError as error:
        if error.response.status_code not in (401, 403):
            raise
        raise PermissionError(
            f"the Hub does not let your token write to {repo_id}: log in again with "
            "`hf auth login`, or set HF_TOKEN"
        ) from error
    except HTTPError as error:
        raise ConnectionError(f"the Hub cannot be reached ({error}): try again later") from error
