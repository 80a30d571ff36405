"""Pages in a headless Chromium, looked at as a person would, and kept as pictures."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import TimeoutError, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-sync"]
WAIT_MS = 15_000
ATTEMPTS = 3  # Chromium gives up what it loads when a network of this machine comes or goes, as containers' do
PICTURES = Path(__file__).parents[1] / "test-results"


@contextmanager
def open_page() -> Iterator[Any]:
    """A page of a headless Chromium with a profile of its own; without Chromium the test is skipped."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on the PATH (Debian: apt install chromium)")
    with tempfile.TemporaryDirectory() as profile, sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=CHROMIUM,
            chromium_sandbox=os.geteuid() != 0,
            args=FLAGS,
            viewport={"width": 1440, "height": 1000},
        )
        yield context.pages[0]
        context.close()


def look(page: Any, url: str, *texts: str) -> None:
    """Open a page and wait until each text is on it; a picture of a page that lacks one is kept."""
    for attempt in range(ATTEMPTS):
        page.goto(url)
        for text in texts:
            try:
                page.get_by_text(text, exact=False).first.wait_for(timeout=WAIT_MS)
            except TimeoutError:
                break
        else:
            return
        page.screenshot(path=provide_pictures() / f"failed-{attempt}.png")
        page.goto("about:blank")  # else an address that differs behind its # only is not loaded again
    raise AssertionError(f"{text!r} is not on {url}: {PICTURES}/failed-{ATTEMPTS - 1}.png shows what is")


def keep(page: Any, name: str) -> None:
    """Keep a picture of the page, ``test-results/<name>.png``, once it has come to rest."""
    page.wait_for_timeout(1500)
    for button in ("Close", "Acknowledge"):  # MLflow's assistant and the console's licence, open at the first visit
        if (found := page.get_by_role("button", name=button)).count():
            found.first.click()
            page.wait_for_timeout(500)
    page.screenshot(path=provide_pictures() / f"{name}.png")


def provide_pictures() -> Path:
    PICTURES.mkdir(parents=True, exist_ok=True)
    return PICTURES
