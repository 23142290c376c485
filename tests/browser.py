"""A headless Chromium for tests, driven by Playwright."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
FLAGS = "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update"
FLAGS += " --disable-sync --no-first-run"


@contextmanager
def chromium(folder: Path, width: int, height: int) -> Iterator:
    """A Playwright context with a window of that size, which ends also when a test fails.

    Args:
        folder: an empty one, for the browser's profile.
    """
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: nothing is tested in a browser")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        context = driver.chromium.launch_persistent_context(
            folder,
            executable_path=CHROMIUM,
            headless=True,
            args=FLAGS.split(),
            viewport={"width": width, "height": height},
            locale="en",
        )
        context.set_default_timeout(60_000)
        try:
            yield context
        finally:
            context.close()
