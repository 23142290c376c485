"""From a trained model's folder to a repository on the Hub: the model card, and the upload.

Nothing here happens by itself: a model leaves the machine only where `push` is called, or
`python -m scripts.train` is given `--push-to-hub`. The token comes from the environment
(`HF_TOKEN`) or from the login store (`hf auth login`), and goes to the Hub only.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers.labels import NAMES_FILE, RULES_FILE
from helpers.profiles import BUNDLED

if TYPE_CHECKING:
    from huggingface_hub import ModelCard

CARD = "README.md"
_SHARED = ("config.json", "preprocessor_config.json", "model.safetensors", CARD)
_LABELS = (NAMES_FILE, RULES_FILE)  # of a model that was trained here
_NAMES = {
    "mean_iou": "mean IoU",
    "mean_accuracy": "mean accuracy",
    "overall_accuracy": "overall accuracy",
    "loss": "loss",
}
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def model_card(
    model_dir: str | Path,
    metrics: Mapping[str, Any],
    dataset: str,
    license: str = "other",
    base_model: str | None = None,
    split: str = "test",
    name: str | None = None,
) -> ModelCard:
    """Describe a trained model: its training data, its scores, and the terms of use.

    Writes nothing: `card.save(model_dir / "README.md")` does.

    Args:
        model_dir: folder written by `save_pretrained`.
        metrics: of the evaluation, such as `trainer.evaluate()` returns them. Numbers alone are
            kept, without timings and without NaN, which a card cannot hold.
        dataset: a Hub id, or the path of a local data set, of which only the name is shown.
        license: of the weights, as the Hub spells it ("apache-2.0"); "other" where the data or
            the base model set terms of their own.
        base_model: the checkpoint that was fine-tuned, as `dataset`.
        split: the part of the data that the metrics are from.
        name: the model's; None: that of the folder.

    Raises:
        FileNotFoundError: the folder holds no model.
        ValueError: there is no finite metric.
    """
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    model_dir = Path(model_dir)
    config = json.loads(_required(model_dir, "config.json").read_text(encoding="utf-8"))
    scores = _finite_scores(metrics)
    if not scores:
        raise ValueError(f"no finite score among {sorted(metrics)}: evaluate the model first")
    name, data_name = name or model_dir.resolve().name, _shown(dataset)
    labels = len(config.get("id2label") or {})
    data = ModelCardData(
        license=license,
        library_name="transformers",
        pipeline_tag="image-segmentation",
        tags=["semantic-segmentation", "vision", config.get("model_type", "segformer")],
        datasets=[dataset] if _on_hub(dataset) else None,
        base_model=base_model if base_model and _on_hub(base_model) else None,
        metrics=["mean_iou"] if "mean_iou" in scores else None,
        model_name=name,
        eval_results=[
            EvalResult(
                task_type="image-segmentation",
                task_name="Semantic segmentation",
                dataset_type=dataset if _on_hub(dataset) else data_name,
                dataset_name=data_name,
                dataset_split=split,
                metric_type=metric,
                metric_name=_NAMES.get(metric, metric),
                metric_value=round(value, 4),
            )
            for metric, value in scores.items()
        ],
    )
    rows = "\n".join(f"| {_NAMES.get(one, one)} | {value:.4f} |" for one, value in scores.items())
    fine_tuned = f", fine-tuned from `{_shown(base_model)}`" if base_model else ""
    return ModelCard(
        f"---\n{data.to_yaml()}\n---\n\n# {name}\n\n"
        f"A semantic segmentation model for {labels} classes{fine_tuned}, trained on "
        f"`{data_name}`. Scores on the {split} split:\n\n"
        f"| metric | value |\n| --- | --- |\n{rows}\n\n"
        "Classes that occur neither in predictions nor in annotations are left out of the "
        "means.\n\n"
        f"Licence: {license}. The training data and the pretrained weights have terms of their "
        "own, which bind whoever uses this model.\n"
    )


def push(model_dir: str | Path, repo_id: str, private: bool = True) -> str:
    """Upload a trained model, its image processor and its card to the Hub.

    The checkpoints of the run, the state of the optimiser and `training_args.bin`, which is a
    pickle and knows this machine's paths, stay where they are.

    Args:
        model_dir: folder written by `save_pretrained`, with a README.md.
        repo_id: NAME or OWNER/NAME; the repository is made where there is none.
        private: whether a new repository can be seen by its owner only.

    Returns:
        The address of the repository's page.

    Raises:
        PermissionError: there is no token, or it is not accepted.
        FileNotFoundError: the folder lacks the model, the image processor or the card.
        ValueError: `repo_id` is no valid name, or the card is not valid.
        ConnectionError: the Hub cannot be reached.
    """
    from huggingface_hub import HfApi, ModelCard

    model_dir = Path(model_dir)
    files = [_required(model_dir, name) for name in _SHARED]
    card = ModelCard(files[-1].read_text(encoding="utf-8"))
    if not card.data.to_dict().get("license"):
        raise ValueError(f"{files[-1]} names no licence: write it with helpers.training.model_card")
    require_token(repo_id)
    api = HfApi()
    with _explained(repo_id):
        repository = api.create_repo(repo_id, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repository.repo_id,
            folder_path=model_dir,
            allow_patterns=[*_SHARED, *_LABELS],
            commit_message="Model, image processor and card",
        )
    return str(repository)


def require_token(repo_id: str, ask_the_hub: bool = False) -> None:
    """Make sure that something can be uploaded, before hours are spent on making it.

    Args:
        repo_id: NAME or OWNER/NAME.
        ask_the_hub: also whether the Hub accepts the token.

    Raises:
        PermissionError: there is no token, or the Hub does not accept it.
        ValueError: `repo_id` is no valid name.
        ConnectionError: the Hub cannot be reached.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.utils import validate_repo_id

    validate_repo_id(repo_id)
    if get_token() is None:
        raise PermissionError(
            f"uploading to {repo_id} needs a token with the right to write: log in with "
            "`hf auth login`, or set HF_TOKEN"
        )
    if ask_the_hub:
        with _explained(repo_id):
            HfApi().whoami()


@contextmanager
def _explained(repo_id: str) -> Iterator[None]:
    from huggingface_hub.errors import HfHubHTTPError, HTTPError

    try:
        yield
    except HfHubHTTPError as error:
        if error.response.status_code not in (401, 403):
            raise
        raise PermissionError(
            f"the Hub does not let your token write to {repo_id}: log in again with "
            "`hf auth login`, or set HF_TOKEN"
        ) from error
    except HTTPError as error:
        raise ConnectionError(f"the Hub cannot be reached ({error}): try again later") from error


def _finite_scores(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Names without "eval_", and without what says how long it took and not how good it is."""
    scores = {}
    for name, value in metrics.items():
        name = name.removeprefix("eval_")
        timing = name.endswith(("runtime", "per_second", "time", "epoch"))
        number = isinstance(value, Real) and not isinstance(value, bool)
        if number and not timing and math.isfinite(value):
            scores[name] = float(value)
    return scores


def _on_hub(source: str) -> bool:
    return bool(_HUB_ID.fullmatch(source)) and not Path(source).exists()


def _shown(source: str) -> str:
    """A Hub id, or the last part of a path: the rest means something on one machine only."""
    if _on_hub(source):
        return source
    return "toy-scenes" if Path(source) == BUNDLED / "scenes" else Path(source).name


def _required(folder: Path, name: str) -> Path:
    if not (folder / name).is_file():
        advice = (
            "write it with helpers.training.model_card"
            if name == CARD
            else "expected a folder that save_pretrained or Trainer.save_model has written"
        )
        raise FileNotFoundError(f"there is no {name} in {folder}: {advice}")
    return folder / name
