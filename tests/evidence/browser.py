"""A headless browser for measurements and screenshots."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench.common.errors import UserError

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@contextmanager
def opened_browser() -> "Iterator[Browser]":
    """Yields Chromium by Playwright; raises UserError if either is missing."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise UserError("this needs playwright; pip install playwright") from error
    executable = shutil.which("chromium")
    if executable is None:
        raise UserError("this needs a browser; apt-get install chromium")
    # A desktop's libraries (dconf, PulseAudio) keep files of their own in these folders.
    with tempfile.TemporaryDirectory(prefix="pixvox-") as own, sync_playwright() as playwright:
        kept_in = ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR")
        browser = playwright.chromium.launch(
            executable_path=executable,
            args=["--no-sandbox"],
            env={**os.environ, **dict.fromkeys(kept_in, own)},
        )
        try:
            yield browser
        finally:
            browser.close()
