"""One sentence in place of a page of stack trace, where the Hub is needed and out of reach."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def explained(source: str | Path) -> Iterator[None]:
    """Turn the libraries' many network errors into a sentence that names the way out.

    Args:
        source: what is loaded inside the `with` block: a Hub id, or a local path.

    Raises:
        ConnectionError: `source` is on the Hub, and the Hub cannot be reached.
    """
    try:
        yield
    except Exception as error:
        if Path(source).exists() or not (_is_network(error) or _hub_is_out_of_reach()):
            raise
        own_data = "unset SEG_DATA and " if os.environ.get("SEG_DATA") == str(source) else ""
        raise ConnectionError(
            f"{source} is loaded from the Hugging Face Hub, which cannot be reached: connect to a "
            f'network, or {own_data}use profile "tiny", which works offline.'
        ) from error


def _is_network(error: BaseException | None) -> bool:
    """Whether this error, or one that caused it, is about the connection (by the class names
    of requests, httpx, aiohttp and huggingface_hub, so that none has to be imported)."""
    known = {"ConnectionError", "ConnectError", "OfflineModeIsEnabled", "Timeout", "TimeoutError"}
    known |= {"TransportError", "ClientConnectionError", "LocalEntryNotFoundError"}
    while error is not None:
        if known & {kind.__name__ for kind in type(error).__mro__}:
            return True
        error = error.__cause__ or error.__context__
    return False


def _hub_is_out_of_reach() -> bool:
    """Ask: some loaders swallow the network's error and say that a file is missing."""
    from huggingface_hub import constants, get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=5)
    except Exception as error:
        return _is_network(error)
    return False
