"""Loading from the Hub: one sentence in place of a page of stack trace, safe and whole files.

`explained` goes around every call that may fetch something. It turns what can go wrong into a
sentence that names the way out, and compares the files that arrived with the checksums that the
Hub gave for them: the client compares their lengths only.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SAFE_WEIGHTS = {"use_safetensors": True, "trust_remote_code": False}
"""Arguments with which `from_pretrained` runs no code that came with a download.

A pickle can run any code while it is read, so only safetensors are. Where a repository on the Hub
has none, `transformers` looks for the Hub's own conversion of it, and refuses where there is no
such thing. Of a repository that brings program code it would ask whether to run it; the answer is
given beforehand.
"""
_DATASETS = "hf://datasets/"
_PAGES = {"model": "", "dataset": "datasets/", "space": "spaces/"}
# Of requests, httpx, aiohttp and huggingface_hub, by name, so that none has to be imported.
_NETWORK = {"ConnectionError", "ConnectError", "OfflineModeIsEnabled", "Timeout", "TimeoutError"}
_NETWORK |= {"TransportError", "ClientConnectionError", "LocalEntryNotFoundError"}
_NETWORK |= {"ChunkedEncodingError", "IncompleteRead"}
_MISSING = {"RemoteEntryNotFoundError", "RevisionNotFoundError"}
# That is what `evaluate` says, whatever the Hub had answered.
_SWALLOWED = "doesn't exist on the Hugging Face Hub"


@contextmanager
def explained(
    source: str | Path, kind: str = "model", revision: str | None = None
) -> Iterator[None]:
    """Turn the libraries' many errors into a sentence, and let no damaged file stay in the cache.

    Args:
        source: what is loaded inside the `with` block: a Hub id, hf://datasets/OWNER/NAME/PATH,
            or a local path, for which nothing is changed.
        kind: "model", "dataset" or "space": what the Hub id names.
        revision: the commit that is asked for; None: the newest.

    Raises:
        ConnectionError: the Hub cannot be reached, is overloaded, or sent a file whose checksum
            is wrong, which is then removed from the cache.
        PermissionError: the Hub wants a token, a valid one, or consent to the terms of `source`.
        FileNotFoundError: there is no such repository, revision or file on the Hub.
        ValueError: the repository holds pickled weights alone, or needs program code of its own.
    """
    if Path(source).exists():
        yield
        return
    begin = time.time()
    try:
        yield
    except Exception as error:
        damaged = remove_damaged(source, kind, begin)
        clear = _damaged(source) if damaged else hub_error(error, source, kind, revision)
        if clear is None:
            raise
        raise clear from error
    if remove_damaged(source, kind, begin):
        raise _damaged(source)


def optional_file(source: str | Path, name: str, kind: str = "model") -> Path | None:
    """A file of a repository on the Hub or of a local folder; None where it has no such file.

    Args:
        source: a Hub id, or a local folder.
        name: of the file.
        kind: "model", "dataset" or "space".

    Raises:
        ConnectionError, PermissionError, FileNotFoundError: as `explained`.
    """
    if Path(source).exists():
        file = Path(source) / name
        return file if file.is_file() else None
    from transformers.utils import cached_file

    with explained(source, kind):
        file = cached_file(
            str(source), name, repo_type=kind, _raise_exceptions_for_missing_entries=False
        )
    return Path(file) if file else None


def hub_error(
    error: BaseException, source: str | Path, kind: str = "model", revision: str | None = None
) -> Exception | None:
    """What an error of the Hub's client means, as one sentence; None if it is about other things.

    Args:
        error: as caught; the errors that caused it are looked at too.
        source: the Hub id or path that is named in the sentence.
        kind, revision: as `explained`.
    """
    names, told, _ = _read(error)
    if clear := _meaning(error, source, kind):
        return clear
    broke_off = bool(_NETWORK & names) or _SWALLOWED in told
    if not broke_off and not isinstance(error, OSError):
        return None
    # The libraries often say that a file is missing, whatever the reason: ask the Hub itself.
    from huggingface_hub import HfApi

    repository, kind = _repository(source, kind)
    try:
        found = HfApi().repo_info(repository, revision=revision, repo_type=kind, timeout=5)
    except Exception as answer:
        if clear := _meaning(answer, source, kind, before=error):
            return clear
        answered, *_ = _read(answer, before=error)
        names |= answered
        if _NETWORK & answered:
            own = "unset SEG_DATA and " if os.environ.get("SEG_DATA") == str(source) else ""
            return ConnectionError(
                f"{source} is loaded from the Hugging Face Hub, which cannot be reached: connect "
                f'to a network, or {own}use profile "tiny", which works offline.'
            )
    else:
        files = " ".join(file.rfilename for file in found.siblings or ())
        pickled = ".safetensors" not in files and re.search(r"\.(bin|h5|msgpack)\b", files)
        if pickled and re.search("safetensors|Can't load the model", told):
            return ValueError(
                f"{source} offers its weights as a pickle alone, which could run any code when it "
                "is read: choose a model with a model.safetensors file."
            )
    if broke_off:
        return ConnectionError(
            f"the connection to the Hub broke off while {source} was loaded: run this again. What "
            "is complete is kept."
        )
    if _MISSING & names:
        place = f"{source} at revision {revision}" if revision else source
        return FileNotFoundError(
            f"there is no such file or revision on the Hub: {place}. See what there is at "
            f"{_page(source, kind)}"
        )
    return None


def remove_damaged(source: str | Path, kind: str = "model", since: float = 0.0) -> list[Path]:
    """Compare cached files with their checksums, and remove those that differ.

    The cache names each file by the checksum that the Hub gave for it: SHA-256 for large files,
    git's SHA-1 for small ones.

    Args:
        source: a Hub id, or hf://datasets/OWNER/NAME/PATH.
        kind: "model", "dataset" or "space".
        since: only files that were written after that time, seconds since the epoch.

    Returns:
        The files that were removed.
    """
    from huggingface_hub import constants

    repository, kind = _repository(source, kind)
    folder = Path(constants.HF_HUB_CACHE) / f"{kind}s--{repository.replace('/', '--')}" / "blobs"
    recent = (file for file in folder.glob("*") if file.stat().st_mtime >= since - 2)
    removed = [file for file in recent if _is_damaged(file)]
    for file in removed:
        file.unlink()
    return removed


def _is_damaged(blob: Path) -> bool:
    if re.fullmatch("[0-9a-f]{64}", blob.name):
        digest = hashlib.sha256()
    elif re.fullmatch("[0-9a-f]{40}", blob.name):
        digest = hashlib.sha1(f"blob {blob.stat().st_size}\0".encode(), usedforsecurity=False)
    else:
        return False
    with blob.open("rb") as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    return digest.hexdigest() != blob.name


def _meaning(
    error: BaseException, source: str | Path, kind: str, before: BaseException | None = None
) -> Exception | None:
    """The sentence for an error that tells by itself what is wrong; `before`: see `_read`."""
    from huggingface_hub import get_token

    names, told, status = _read(error, before)
    log_in = "log in with `hf auth login`" if get_token() is None else "check your token"
    if "GatedRepoError" in names or "is a gated dataset" in told:
        return PermissionError(
            f"{source} is only for those who accept its terms: {log_in}, accept them at "
            f"{_page(source, kind)}, and run this again."
        )
    if "Invalid credentials" in told:
        return PermissionError(
            f"the Hub does not accept your token for {source}: log in again with `hf auth login`, "
            "or unset HF_TOKEN."
        )
    if _SWALLOWED in told:
        return None
    if {"RepositoryNotFoundError", "DatasetNotFoundError"} & names or status == 401:
        return FileNotFoundError(
            f"there is no {source} on the Hub, or it is private: check the name; if it is right, "
            f"{log_in}."
        )
    if status == 403:
        return PermissionError(f"your token does not allow this in {source}: {log_in}.")
    if status == 429 or (status and status >= 500):
        reason = "too many requests" if status == 429 else "a fault of its own"
        return ConnectionError(
            f"the Hub answers with {reason} ({status}) for {source}: wait some minutes and run "
            "this again. What is complete is kept."
        )
    if "custom code" in told:
        return ValueError(
            f"{source} needs program code that it brings along, which is not run here: choose a "
            "model of a kind that transformers knows."
        )
    return _damaged(source) if "Consistency check failed" in told else None


def _damaged(source: str | Path) -> ConnectionError:
    return ConnectionError(
        f"{source} arrived damaged (its checksum or length is wrong) and is not kept: run this "
        "again to fetch it."
    )


def _repository(source: str | Path, kind: str) -> tuple[str, str]:
    """The repository's id, and its kind."""
    if str(source).startswith(_DATASETS):
        return "/".join(str(source).removeprefix(_DATASETS).split("/")[:2]), "dataset"
    return str(source), kind


def _page(source: str | Path, kind: str) -> str:
    from huggingface_hub import constants

    repository, kind = _repository(source, kind)
    return f"{constants.ENDPOINT}/{_PAGES[kind]}{repository}"


def _read(
    error: BaseException | None, before: BaseException | None = None
) -> tuple[set[str], str, int | None]:
    """Class names, words and HTTP status of an error and of those that led to it.

    Not of `before`, which was being handled when the error came: Python links the two.
    """
    names, chain, status = set(), [], None
    while error not in (None, before, *chain):
        names |= {kind.__name__ for kind in type(error).__mro__}
        chain.append(error)
        status = status or getattr(getattr(error, "response", None), "status_code", None)
        error = error.__cause__ or error.__context__
    told = " ".join(map(str, chain))
    if in_words := re.search(r"\(error (\d{3})\)", told):  # `evaluate` has no other way
        status = status or int(in_words[1])
    return names, told, status
