"""A real browser in front of a served Nexus: Debian's Chromium, driven by Playwright."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from bench.chromium import CHROMIUM
from tests.served import Served
from tests.services import MISSING

missing = pytest.mark.skipif(not CHROMIUM, reason=f"chromium and its fonts {MISSING}")
PASSWORD = "a-fake-password-for-tests"


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*sandbox, "--disable-dev-shm-usage"])
        yield browser
        browser.close()


@dataclass
class Complaints:
    """What a page's console, its scripts and its requests complained of."""

    found: list[str] = field(default_factory=list)

    def listen(self, page: Page) -> None:
        page.on("console", lambda message: self._note(message.type, message.text))
        page.on("pageerror", lambda error: self.found.append(f"error: {error}"))

    def _note(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.found.append(f"{kind}: {text}")


def make_admin(nexus: Served, name: str = "browser") -> None:
    nexus.run(
        f"from django.contrib.auth.models import User\nUser.objects.create_superuser({name!r}, password={PASSWORD!r})"
    )


def signed_in(browser: Browser, nexus: Served, name: str = "browser", **options: Any) -> tuple[BrowserContext, Page]:
    """A window of its own, on the overview."""
    context = browser.new_context(base_url=nexus.url, **options)
    context.set_default_timeout(15_000)
    page = context.new_page()
    page.goto("/admin/login/?next=/dashboard/")
    page.fill("#id_username", name)
    page.fill("#id_password", PASSWORD)
    page.click("[type=submit]")
    page.wait_for_selector("h1:has-text('Overview')")
    return context, page
