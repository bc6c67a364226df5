"""A browser without a window, for what is measured and pictured in one."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench.common.errors import UserError

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@contextmanager
def opened_browser() -> "Iterator[Browser]":
    """Chromium by Playwright; raises UserError where one of both is missing."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise UserError("this needs playwright; pip install playwright") from error
    found = shutil.which("chromium")
    if found is None:
        raise UserError("this needs a browser; apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()
