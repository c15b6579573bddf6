"""Pictures of every page, wide and narrow, light and dark: ``python -m tests.e2e.screenshots``.

Without arguments the pages show the double's fleet. ``--url http://… --email …`` with the password in
``FARWATCH_PASSWORD`` takes them from a running installation.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page
from playwright.sync_api import TimeoutError as NotReady

from tests.e2e import chromium
from tests.unit.dashboard.fake_admin import SCAN
from tests.unit.dashboard.fake_api import FakeApi
from tests.unit.dashboard.fake_server import serve
from tests.unit.dashboard.fake_shapes import PASSWORD

PAGES = {
    "fleet": "",
    "host": "host?id={host}",
    "host-day": "host?id={host}&range=24h",
    "metrics": "metrics?hosts=web-1&hosts=web-3&metrics=cpu.percent&range=1h",
    "incidents": "incidents?state=Open&state=Acknowledged&state=Resolved",
    "incident": "incidents?id={incident}",
    "notifications": "notifications",
    "anomalies": "anomalies",
    "anomaly": "anomalies?id={anomaly}",
    "compare": "anomalies?view=Compare&of={host}&series=cpu.percent&range=6h",
    "watch": "anomalies?view=Who+watches+what",
    "forecasts": "forecasts",
    "rules": "rules",
    "channels": "channels",
    "agents": "agents",
    "people": "people",
    "tokens": "tokens?ended=true",
    "scans": "scans",
    "scan": "scans?id={scan}",
    "audit": "audit",
    "health": "health",
    "account": "account",
}
SIZES = {1440: 900, 390: 844}
THEMES = ("light", "dark")
SETTLE_MS = 1500


@contextmanager
def installation(arguments: argparse.Namespace) -> Iterator[tuple[str, str, str]]:
    """Give the dashboard's address, e-mail and password: the one named on the command line, else the double's."""
    if arguments.url:
        yield arguments.url.rstrip("/"), arguments.email, os.environ["FARWATCH_PASSWORD"]
        return
    hosts = 0 if arguments.empty else 8
    with (
        serve(FakeApi(hosts=hosts, interval_s=5.0), batch_every_s=5.0) as api,
        chromium.dashboard(api) as url,
    ):
        yield url, "admin@example.org", PASSWORD


def take(browser: Browser, address: tuple[str, str, str], arguments: argparse.Namespace) -> int:
    """Take all pictures; return how many pages did not come to rest in time."""
    url, email, password = address
    late = 0
    for theme in arguments.themes:
        for width in arguments.widths:
            size = {"width": width, "height": SIZES.get(width, 900)}
            context = browser.new_context(viewport=size, color_scheme=theme, timezone_id="Europe/Berlin")  # type: ignore[arg-type]
            page = context.new_page()
            page.goto(url)
            page.get_by_label("Password", exact=True).wait_for()
            suffix = f"{theme}-{width}.png"
            _picture(page, arguments.out / f"sign-in-{suffix}")
            chromium.sign_in(page, url, email, password)
            known = {
                "host": _first(page, "tr.fw-live .fw-open", "id"),
                "incident": _first(page, ".fw-strip a", "id"),
                "anomaly": _anomaly(page, url) if "anomaly" in arguments.pages else "",
                "scan": SCAN,
            }
            for name in arguments.pages:
                page.goto(f"{url}/{PAGES[name].format(**known)}")
                late += not _settled(page, name)
                _picture(page, arguments.out / f"{name}-{suffix}")
            context.close()
    return late


def _picture(page: Page, path: Path) -> None:
    """Write a picture with 256 colours, which is a third of the size and looks the same."""
    shot = Image.open(io.BytesIO(page.screenshot()))
    shot.convert("RGB").quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(
        path, optimize=True
    )


def _first(page: Page, selector: str, parameter: str) -> str:
    """Return a parameter of the first link of a kind on the fleet page, an empty string when there is none."""
    links = page.locator(selector)
    try:
        links.first.wait_for(timeout=10_000)
    except NotReady:
        return ""
    href = links.first.get_attribute("href") or ""
    return href.partition(f"{parameter}=")[2].partition("&")[0]


def _anomaly(page: Page, url: str) -> str:
    """Return the id of the newest anomaly, an empty string when there is none."""
    page.goto(f"{url}/anomalies?range=30d")
    try:
        page.get_by_role("button", name="Look").first.click(timeout=10_000)
        page.wait_for_url("**id=*", timeout=10_000)
    except NotReady:
        return ""
    return page.url.partition("id=")[2].partition("&")[0]


def _settled(page: Page, name: str) -> bool:
    try:
        page.locator("h2").first.wait_for(timeout=10_000)
        if name == "compare":
            page.get_by_role("button", name="Run").click(timeout=10_000)
        if name in {"host", "host-day", "metrics", "forecasts", "anomaly", "compare"}:
            page.locator(".fw-charts[data-ready=true]").wait_for(
                timeout=60_000 if name == "compare" else 10_000
            )
        page.wait_for_function("() => !document.querySelector('[data-testid=stSkeleton]')", timeout=10_000)
    except NotReady:
        print(f"{name} did not come to rest", file=sys.stderr)
        return False
    page.wait_for_timeout(SETTLE_MS)
    return True


def main() -> int:
    """Parse the command line, take the pictures, return 1 if a page never came to rest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="A running dashboard instead of the double.")
    parser.add_argument("--email", default="admin@farwatch.local")
    parser.add_argument("--empty", action="store_true", help="The double without any host.")
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    parser.add_argument("--pages", nargs="+", choices=list(PAGES), default=list(PAGES))
    parser.add_argument("--widths", nargs="+", type=int, default=list(SIZES))
    parser.add_argument("--themes", nargs="+", choices=THEMES, default=list(THEMES))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with installation(arguments) as address, chromium.browser() as browser:
        return 1 if take(browser, address, arguments) else 0


if __name__ == "__main__":
    sys.exit(main())
