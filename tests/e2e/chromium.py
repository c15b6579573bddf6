"""Headless Chromium for tests, and the dashboard's own server to look at."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

ROOT = Path(__file__).parents[2]
INSTALL = "apt-get install chromium"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 60_000


def path() -> str | None:
    """Return where Chromium is, or None; the build without a window takes two thirds of the processor's time."""
    return next(
        filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "chromium-browser"))), None
    )


@contextmanager
def browser() -> Iterator[Browser]:
    """Give a running browser; skip the test where there is none."""
    found = path()
    if found is None:
        pytest.skip(f"needs Chromium: {INSTALL}")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=FLAGS)
        try:
            yield started
        finally:
            started.close()


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def dashboard(api_url: str) -> Iterator[str]:
    """Run the dashboard's server as an installation does; give its address."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    argv = [sys.executable, "-m", "streamlit", "run", str(ROOT / "dashboard" / "app.py")]
    process = subprocess.Popen(
        [*argv, "--server.address", "127.0.0.1", "--server.port", str(port)],
        env={**os.environ, "FARWATCH_API_URL": api_url, "FARWATCH_WS_URL": "", "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_until_up(url, process)
        yield url
    finally:
        process.terminate()
        process.wait(10)


def _wait_until_up(url: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError("the dashboard's server ended while starting")
        try:
            with urllib.request.urlopen(f"{url}/healthz", timeout=1):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise RuntimeError("the dashboard's server did not answer within 30 s")


def sign_in(page: Page, url: str, email: str, password: str) -> None:
    """Sign in at ``url`` and wait for the sidebar."""
    page.set_default_timeout(PATIENCE_MS)
    page.goto(url)
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password", exact=True).fill(password)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.locator(".fw-pulse").wait_for(state="attached")
    wait_for_cookie(page)


def wait_for_cookie(page: Page) -> None:
    """Wait until the browser holds the session's cookie, with which a reload stays signed in."""
    until = time.monotonic() + PATIENCE_MS / 1000
    while time.monotonic() < until:
        if any(cookie.get("name") == "farwatch_session" for cookie in page.context.cookies()):
            return
        page.wait_for_timeout(50)
    raise AssertionError("the session's cookie was not set")


def charts(page: Page) -> Locator:
    """Return the charts once they are drawn."""
    found = page.locator(".fw-charts[data-ready=true]")
    found.wait_for()
    return found


def delays(page: Page, count: int, *, patience_s: float) -> list[float]:
    """Return, for the next ``count`` drawings of the charts, how many ms after it was taken the newest sample was drawn.

    Agent, back end and browser must share a clock, as they do on one machine.
    """
    charts(page)
    page.evaluate(
        """() => {
          window.delays = [];
          const root = document.querySelector('.fw-charts');
          const seen = () => window.delays.push(Number(root.dataset.drawnAt) - Number(root.dataset.drawn));
          new MutationObserver(seen).observe(root, { attributes: true, attributeFilter: ['data-drawn-at'] });
        }"""
    )
    page.wait_for_function("(n) => window.delays.length >= n", arg=count, timeout=patience_s * 1000)
    found: list[float] = page.evaluate("window.delays")
    return found[:count]
