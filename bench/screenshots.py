"""`python -m bench.screenshots`: pictures of every page for docs/screenshots, light and dark, wide and narrow.

Serves `nexus demo` on a folder of its own with a week of made-up traffic, and drives the system's Chromium.
"""

import argparse
import os
import re
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import create_server

import httpx
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from bench.chromium import CHROMIUM

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    "overview": "/dashboard/?range=7d",
    "requests": "/dashboard/requests",
    "usage": "/dashboard/usage?range=7d",
    "latency": "/dashboard/latency?range=7d",
    "credentials": "/dashboard/credentials",
    "keys": "/dashboard/keys?range=7d",
    "system": "/dashboard/system",
    "start": "/dashboard/start",
    "console": "/admin/",
    "console-keys": "/admin/accounts/clientkey/",
    "console-domain": "/admin/accounts/domain/add/",
}
LOOKS = {
    "light-wide": ("light", 1440),
    "dark-wide": ("dark", 1440),
    "light-narrow": ("light", 390),
    "dark-narrow": ("dark", 390),
}
HEIGHT_MAX = 1800
QUALITY = 70
TRAFFIC_SECONDS = 20
READY_SECONDS = 60
SEED = """
import django
django.setup()
from datetime import timedelta
from django.utils import timezone
from accounts.models import Budget, Credential, Domain
from telemetry.money import rollups
home = Domain.objects.get(host="localhost")
research, _ = Domain.objects.get_or_create(host="research.example.com")
for name, owner, more in (
    ("main", "Grace", {}), ("spare", "Ada", {"is_standby": True}), ("trial", "Ada", {"is_active": False}),
    ("ends soon", "Grace", {"priority": 1, "expires_at": timezone.now() + timedelta(days=3)}),
):
    more |= {"owner": owner, "secret": SECRET + name[:1] * 4}
    Credential.objects.get_or_create(domain=home, name=name, defaults=more)
Budget.objects.get_or_create(name="research, this month", domain=home, defaults={"amount_usd": 40, "period": "month"})
rollups.roll_up(limit=100_000, seconds=300, at_once=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.screenshots", description=__doc__)
    parser.add_argument("--into", type=Path, default=ROOT / "docs" / "screenshots", help="the folder of the pictures")
    parser.add_argument("--only", help="pages whose names hold this text")
    options = parser.parse_args()
    options.into.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        _demo(Path(folder)) as (url, password),
        sync_playwright() as playwright,
    ):
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(channel=None, executable_path=_chromium(), args=arguments)
        for look, (theme, width) in LOOKS.items():
            _take_all(browser, url, password, look, theme, width, options)
        browser.close()


def _take_all(
    browser: Browser, url: str, password: str, look: str, theme: str, width: int, options: argparse.Namespace
) -> None:
    context = browser.new_context(base_url=url, viewport={"width": width, "height": 900}, color_scheme=theme)  # type: ignore[arg-type]
    page = _signed_in(context, password)
    for name, path in (PAGES | {"request": _newest(page)}).items():
        if options.only and options.only not in name:
            continue
        page.goto(path)
        page.wait_for_load_state("networkidle", timeout=5000) if path.startswith("/admin") else page.wait_for_selector(
            "#connection[data-state=live]"
        )
        page.wait_for_timeout(600)  # for curves to be drawn: a picture, not a proof
        height = min(page.evaluate("document.documentElement.scrollHeight"), HEIGHT_MAX)
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_timeout(300)
        page.screenshot(path=options.into / f"{name}-{look}.jpg", type="jpeg", quality=QUALITY)
        page.set_viewport_size({"width": width, "height": 900})
        print(f"{name}-{look}.jpg", file=sys.stderr)
    context.close()


def _signed_in(context: BrowserContext, password: str) -> Page:
    page = context.new_page()
    page.goto("/admin/login/?next=/dashboard/")
    page.fill("#id_username", "admin")
    page.fill("#id_password", password)
    page.click("[type=submit]")
    page.wait_for_selector("h1:has-text('Overview')")
    return page


def _newest(page: Page) -> str:
    """A stream of several turns, among the newest."""
    page.goto("/dashboard/requests?kind=inference&outcome=completed")
    return page.locator("#rows tbody a").first.get_attribute("href") or "/dashboard/requests"


@contextmanager
def _demo(folder: Path) -> Iterator[tuple[str, str]]:
    """The address and the admin's password."""
    with create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    log = folder / "demo.log"
    command = [sys.executable, "-m", "nexus", "demo", "--data", str(folder / "data"), "--port", str(port)]
    environment = os.environ | {
        "DEBUG": "true",
        "NEXUS_DATA": str(folder / "data"),
        "DJANGO_SETTINGS_MODULE": "nexus.settings",
    }
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=ROOT)
    try:
        _wait(f"http://127.0.0.1:{port}/", process)
        found = re.search(r"admin / (\S+)", log.read_text())
        fill = [sys.executable, "manage.py", "fill_record", "--exchanges=6000", "--days=7", "--force"]
        subprocess.run(fill, env=environment, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        secret = f"SECRET = 'sk-ant-api03-fake-{secrets.token_hex(8)}-'\n"
        subprocess.run([sys.executable, "-c", secret + SEED], env=environment, cwd=ROOT, check=True)
        time.sleep(TRAFFIC_SECONDS)  # for live traffic to come: a picture, not a proof
        yield f"http://127.0.0.1:{port}", found[1] if found else ""
    finally:
        process.terminate()
        process.wait(20)


def _wait(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(url, timeout=5, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass  # not yet
        time.sleep(0.2)
    sys.exit("screenshots: `nexus demo` did not start")


def _chromium() -> str:
    return CHROMIUM or sys.exit("screenshots: chromium is not here")


if __name__ == "__main__":
    main()
