"""Loading from the Hub: a sentence in place of a page of stack trace, and no pickled weights.

`explained` goes around every call that may fetch something; what it has no sentence for, such as
a busy Hub, keeps the libraries' words. `hf cache verify` tells whether a download arrived whole.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Or `from_pretrained` would ask a service of the Hub to convert a pickle, and wait for it.
os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")

SAFE_WEIGHTS = {"use_safetensors": True, "trust_remote_code": False}
"""Arguments of `from_pretrained` with which no code runs that came with a download."""


@contextmanager
def explained(
    source: str | Path, kind: str = "model", revision: str | None = None
) -> Iterator[None]:
    """Turn the libraries' many errors about a Hub id into a sentence that names the way out; of a
    local path they stay as they are. `kind`: "model" or "dataset".

    Raises:
        ConnectionError: the Hub cannot be reached.
        FileNotFoundError: there is no such repository, or it is private.
        PermissionError: it is gated: only for those who have accepted its terms.
        ValueError: it offers its weights as a pickle alone.
    """
    try:
        yield
    except Exception as error:
        if not Path(source).exists():
            _ask_the_hub(error, str(source), kind, revision)
        raise


def optional_file(source: str | Path, name: str, kind: str = "model") -> Path | None:
    """A file of a repository on the Hub or of a local folder; None where it has no such file."""
    if Path(source).exists():
        file = Path(source) / name
        return file if file.is_file() else None
    from transformers.utils import cached_file

    with explained(source, kind):
        file = cached_file(
            str(source), name, repo_type=kind, _raise_exceptions_for_missing_entries=False
        )
    return Path(file) if file else None


def _ask_the_hub(error: Exception, source: str, kind: str, revision: str | None) -> None:
    """Raise what the Hub itself answers when a load has failed: the libraries often hide it."""
    from huggingface_hub import HfApi, constants, errors

    if not isinstance(error, (OSError, errors.HTTPError)) or getattr(error, "errno", None):
        return  # a number is the operating system's, such as for a full disk
    try:
        HfApi().auth_check(source, repo_type=kind)
        files = HfApi().list_repo_files(source, revision=revision, repo_type=kind)
    except errors.GatedRepoError:
        page = f"{constants.ENDPOINT}/{'datasets/' if kind == 'dataset' else ''}{source}"
        raise PermissionError(
            f"{source} is only for those who accept its terms: accept them at {page}, log in with "
            "`hf auth login`, and run this again."
        ) from error
    except errors.RepositoryNotFoundError:
        raise FileNotFoundError(
            f"there is no {source} on the Hub, or it is private: check the name; if it is right, "
            "log in with `hf auth login` as somebody who may see it."
        ) from error
    except (errors.HfHubHTTPError, errors.HFValidationError):
        return  # something else is wrong
    except (OSError, errors.HTTPError):
        own = "unset SEG_DATA and " if os.environ.get("SEG_DATA") == source else ""
        raise ConnectionError(
            f"{source} is loaded from the Hugging Face Hub, which cannot be reached: connect "
            f'to a network, or {own}use profile "tiny", which works offline.'
        ) from error
    endings = {Path(file).suffix for file in files}
    if ".bin" in endings and ".safetensors" not in endings:
        raise ValueError(
            f"{source} offers its weights as a pickle alone, which could run any code when it "
            "is read: choose a model with a model.safetensors file."
        ) from error
