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
from typing import Any

_SAFETENSORS_COMMITS = {
    # Its main branch holds a pickle alone; this commit, a child of it by the Hub's own converter,
    # adds the same weights as safetensors.
    "nvidia/mit-b0": "25ce79d97e6d9d509ed12e17cb2eb89b0a83a2dc",
}
_DATASETS = "hf://datasets/"


def safe_weights(source: str | Path) -> dict[str, Any]:
    """The arguments with which `from_pretrained` runs no code that came with a download.

    A pickle can run any code while it is read, so only safetensors are. Where a repository on the
    Hub has none, `transformers` looks for the Hub's own conversion of it, and refuses where there
    is no such thing. Of a repository that brings program code it would ask whether to run it; the
    answer is given beforehand.

    Args:
        source: a Hub id, or a local path.

    Returns:
        Keyword arguments for `from_pretrained`: `use_safetensors`, `trust_remote_code`, and
        `revision` where the safetensors lie in a commit of their own.
    """
    arguments: dict[str, Any] = {"use_safetensors": True, "trust_remote_code": False}
    if commit := _SAFETENSORS_COMMITS.get(str(source)):
        arguments["revision"] = commit
    return arguments


@contextmanager
def explained(source: str | Path) -> Iterator[None]:
    """Turn the libraries' many errors into a sentence, and let no damaged file stay in the cache.

    Args:
        source: what is loaded inside the `with` block: a Hub id, hf://datasets/OWNER/NAME/PATH,
            or a local path, for which nothing is changed.

    Raises:
        ConnectionError: the Hub cannot be reached, is overloaded, or sent a file whose checksum
            is wrong, which is then removed from the cache.
        PermissionError: the Hub wants a token, a valid one, or consent to the terms of `source`.
        FileNotFoundError: there is no such repository or file on the Hub.
        ValueError: the repository holds pickled weights alone, or needs program code of its own.
    """
    begin = time.time()
    try:
        yield
    except Exception as error:
        if _is_local(source):
            raise
        _refuse_damaged(source, begin, error)
        if (clear := hub_error(error, source)) is None:
            raise
        raise clear from error
    if not _is_local(source):
        _refuse_damaged(source, begin)


def hub_error(error: BaseException, source: str | Path, ask: bool = True) -> Exception | None:
    """What an error of the Hub's client means, as one sentence; None if it is about other things.

    Args:
        error: as caught; the errors that caused it are looked at too.
        source: the Hub id or path that is named in the sentence.
        ask: ask the Hub itself where the error does not tell.
    """
    from huggingface_hub import constants, get_token

    chain = list(_chain(error))
    names = {kind.__name__ for one in chain for kind in type(one).__mro__}
    repository, _ = _repository(source)
    told = " ".join(map(str, chain))
    kind = next((k for k in ("datasets/", "spaces/") if f"{k}{repository}" in told), "")
    kind = "datasets/" if "DatasetNotFoundError" in names else kind
    page = f"{constants.ENDPOINT}/{kind}{repository}"
    log_in = "log in with `hf auth login`" if get_token() is None else "check your token"
    status = next((code for one in chain if (code := _status(one))), None)
    if "GatedRepoError" in names or "is a gated dataset" in told:
        return PermissionError(
            f"{source} is only for those who accept its terms: {log_in}, accept them at {page}, "
            "and run this again."
        )
    if "Invalid credentials" in told:
        return PermissionError(
            f"the Hub does not accept your token, asked for {source}: log in again with "
            "`hf auth login`, or unset HF_TOKEN."
        )
    if ask and "doesn't exist on the Hugging Face Hub" in told:
        # That is what `evaluate` says, whatever the Hub had answered.
        answer = _asked_directly(source)
        return hub_error(answer, source, ask=False) if answer else _broken_off(source)
    if {"RepositoryNotFoundError", "DatasetNotFoundError"} & names or status == 401:
        return FileNotFoundError(
            f"there is no {source} on the Hub, or it is private: check the name; if it is right, "
            f"{log_in}."
        )
    if status == 403:
        return PermissionError(f"your token has no right to this in {source}: {log_in}.")
    if status == 429 or (status and status >= 500):
        reason = "asks for fewer requests" if status == 429 else f"has a fault ({status})"
        return ConnectionError(
            f"the Hub {reason}, asked for {source}: wait some minutes and run this again. What is "
            "complete is kept."
        )
    if "custom code" in told:
        return ValueError(
            f"{source} needs program code that it brings along, which is not run here: choose a "
            "model of a kind that transformers knows."
        )
    unread = re.search("safetensors|Can't load the model", told)
    if unread and source not in _SAFETENSORS_COMMITS and _offers_pickles_alone(repository):
        return ValueError(
            f"{source} offers its weights as a pickle alone, which could run any code when it is "
            "read: choose a model with a model.safetensors file."
        )
    if _is_network(error):
        answer = _asked_directly(source) if ask else error
        out_of_reach = answer is not None and _is_network(answer)
        return _out_of_reach(source) if out_of_reach else _broken_off(source)
    if names & {"RemoteEntryNotFoundError", "RevisionNotFoundError", "EntryNotFoundError"}:
        return FileNotFoundError(f"there is no such file or revision on the Hub: {source}")
    if "Consistency check failed" in told:
        return _damaged(source)
    # Some loaders swallow the Hub's answer, and say that a file is missing.
    answer = _asked_directly(source) if ask and isinstance(error, OSError) else None
    return hub_error(answer, source, ask=False) if answer else None


def optional_file(source: str | Path, name: str, kind: str = "model") -> Path | None:
    """A file of a repository on the Hub or of a local folder; None where it has no such file.

    Args:
        source: a Hub id, or a local folder.
        name: of the file.
        kind: "model", "dataset" or "space".

    Raises:
        ConnectionError, PermissionError, FileNotFoundError: as `explained`.
    """
    if _is_local(source):
        file = Path(source) / name
        return file if file.is_file() else None
    from transformers.utils import cached_file

    with explained(source):
        file = cached_file(
            str(source), name, repo_type=kind, _raise_exceptions_for_missing_entries=False
        )
    return Path(file) if file else None


def _refuse_damaged(source: str | Path, since: float, error: BaseException | None = None) -> None:
    """Remove the files of `source` that arrived since then with a wrong checksum, and raise."""
    if remove_damaged(source, since):
        raise _damaged(source) from error


def remove_damaged(source: str | Path, since: float = 0.0) -> list[Path]:
    """Compare cached files with their checksums, and remove those that differ.

    The cache names each file by the checksum that the Hub gave for it: SHA-256 for large files,
    git's SHA-1 for small ones.

    Args:
        source: a Hub id, or hf://datasets/OWNER/NAME/PATH.
        since: only files that were written after that time, seconds since the epoch.

    Returns:
        The files that were removed.
    """
    from huggingface_hub import constants

    repository, kind = _repository(source)
    kinds = [kind] if kind else ["model", "dataset", "space"]
    removed = []
    for one in kinds:
        folder = Path(constants.HF_HUB_CACHE) / f"{one}s--{repository.replace('/', '--')}" / "blobs"
        for blob in folder.glob("*") if folder.is_dir() else ():
            if blob.is_file() and blob.stat().st_mtime >= since - 2 and _is_damaged(blob):
                blob.unlink()
                removed.append(blob)
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


def _damaged(source: str | Path) -> ConnectionError:
    return ConnectionError(
        f"{source} arrived damaged (its checksum or length is wrong) and is not kept: run this "
        "again to fetch it."
    )


def _broken_off(source: str | Path) -> ConnectionError:
    return ConnectionError(
        f"the connection to the Hub broke off while {source} was loaded: run this again. What is "
        "complete is kept."
    )


def _out_of_reach(source: str | Path) -> ConnectionError:
    own_data = "unset SEG_DATA and " if os.environ.get("SEG_DATA") == str(source) else ""
    return ConnectionError(
        f"{source} is loaded from the Hugging Face Hub, which cannot be reached: connect to a "
        f'network, or {own_data}use profile "tiny", which works offline.'
    )


def _offers_pickles_alone(repository: str) -> bool:
    from huggingface_hub import HfApi

    try:
        files = HfApi().list_repo_files(repository)
    except Exception:  # then it is something else that is wrong
        return False
    weights = [name for name in files if name.endswith((".safetensors", ".bin", ".h5", ".msgpack"))]
    return bool(weights) and not any(name.endswith(".safetensors") for name in weights)


def _is_local(source: str | Path) -> bool:
    return Path(source).exists()


def _repository(source: str | Path) -> tuple[str, str | None]:
    """The repository's id, and its kind where that is known."""
    if str(source).startswith(_DATASETS):
        return "/".join(str(source).removeprefix(_DATASETS).split("/")[:2]), "dataset"
    return str(source), None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and those that led to it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _status(error: BaseException) -> int | None:
    """The HTTP status that an error carries, of the clients that the libraries use."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is None and (told := re.search(r"\(error (\d{3})\)", str(error))):
        status = int(told[1])  # `evaluate` puts it into the message
    return status


def _is_network(error: BaseException) -> bool:
    """Whether this error, or one that caused it, is about the connection (by the class names
    of requests, httpx, aiohttp and huggingface_hub, so that none has to be imported)."""
    known = {"ConnectionError", "ConnectError", "OfflineModeIsEnabled", "Timeout", "TimeoutError"}
    known |= {"TransportError", "ClientConnectionError", "LocalEntryNotFoundError"}
    known |= {"ChunkedEncodingError", "IncompleteRead"}
    return any(known & {kind.__name__ for kind in type(one).__mro__} for one in _chain(error))


def _asked_directly(source: str | Path) -> Exception | None:
    """What the Hub answers when asked for the repository now: an error, or None if it is there."""
    from huggingface_hub import HfApi

    repository, kind = _repository(source)
    errors: list[Exception] = []
    for one in [kind] if kind else ["model", "dataset", "space"]:
        try:
            HfApi().repo_info(repository, repo_type=one, timeout=5)
            return None
        except Exception as error:
            errors.append(error)
    # Of three kinds two do not exist: what is wrong with the third says more.
    telling = [error for error in errors if type(error).__name__ != "RepositoryNotFoundError"]
    return (telling or errors)[0]
