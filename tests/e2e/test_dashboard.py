"""The dashboard in a real browser, in front of a served Nexus with traffic."""

import json
import re
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, WebSocketRoute, expect

from bench.standin import Standin
from dashboard.pages.door import PAGES
from tests import browser as browsers
from tests.browser import Complaints, signed_in
from tests.dashboard.pages.hostile import ALL, SCRIPT
from tests.served import FAKE_UPSTREAM_KEY, Served, eventually, serve

pytestmark = [pytest.mark.e2e, pytest.mark.once, browsers.missing]
FAKE_DASHBOARD_KEY = "fake-dashboard-key-0001"
PATHS = ["/dashboard/", "/dashboard/start", *(f"/dashboard/{name}" for name, _ in PAGES if name != "overview")]
WEIGHT_MAX_BYTES = 150_000
LIVE = "#connection[data-state=live]"


@pytest.fixture(scope="module")
def nexus(standin: Standin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(
        tmp_path_factory.mktemp("dashboard"),
        standin.url,
        DASHBOARD_API_KEY=FAKE_DASHBOARD_KEY,
        ALLOWED_HOSTS="127.0.0.1",
    ) as served:
        served.run(
            f"Credential.objects.create(domain=Domain.objects.get(), name='main', secret={FAKE_UPSTREAM_KEY!r})\n"
            "Installation.announce_change()"
        )
        browsers.make_admin(served)
        yield served


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsers.chromium() as found:
        yield found


@pytest.fixture(scope="module")
def page(browser: Browser, nexus: Served) -> Iterator[Page]:
    """Of who sees everything."""
    context, found = signed_in(browser, nexus)
    yield found
    context.close()


@pytest.fixture
def client(nexus: Served) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=nexus.url, api_key=nexus.key, max_retries=0) as found:
        yield found


def ask(client: anthropic.Anthropic, text: str = "Hello", session: str = "") -> str:
    """Nexus's id of the request."""
    raw = client.messages.with_raw_response.create(
        model="claude-haiku-4-5",
        max_tokens=64,
        messages=[{"role": "user", "content": text}],
        extra_headers={"x-claude-code-session-id": session} if session else {},
    )
    return raw.headers["x-nexus-request-id"]


def requests_shown(page: Page) -> float:
    return float(page.locator("[data-live=requests]").get_attribute("data-value") or 0)


def test_two_windows_see_one_stream_as_it_ends(browser: Browser, nexus: Served, client: anthropic.Anthropic) -> None:
    """Nobody reloads: it comes over the sockets."""
    windows = [signed_in(browser, nexus) for _ in range(2)]
    for _, page in windows:
        page.wait_for_selector(LIVE)
    before = [requests_shown(page) for _, page in windows]
    with client.messages.stream(
        model="claude-haiku-4-5", max_tokens=64, messages=[{"role": "user", "content": "Count to three"}]
    ) as stream:
        assert stream.get_final_text()
    for (context, page), shown in zip(windows, before, strict=True):
        expect(page.locator("[data-live=requests]")).to_have_attribute("data-value", f"{shown + 1:.0f}")
        context.close()


def test_the_first_steps_lead_to_the_first_request_by_themselves(
    page: Page, nexus: Served, client: anthropic.Anthropic
) -> None:
    page.goto("/dashboard/start")
    request_id = ask(client)
    page.wait_for_url(f"**/dashboard/requests/{request_id}")


def test_where_sockets_are_blocked_it_asks_again_and_again(
    browser: Browser, nexus: Served, client: anthropic.Anthropic
) -> None:
    context, page = signed_in(browser, nexus)

    def refuse(socket: WebSocketRoute) -> None:
        socket.close()

    page.clock.install()
    page.route_web_socket(re.compile("/dashboard/live"), refuse)
    page.goto("/dashboard/")
    dot = page.locator("#connection")
    eventually(lambda: later(page) and dot.get_attribute("data-state") == "polling", 30)
    before = requests_shown(page)
    ask(client)
    eventually(lambda: later(page) and requests_shown(page) > before, 30)
    context.close()


def later(page: Page) -> bool:
    """By the page's clock."""
    page.clock.run_for(5000)
    return True


def test_it_comes_back_when_the_connection_does(browser: Browser, nexus: Served) -> None:
    context, page = signed_in(browser, nexus)
    page.wait_for_selector(LIVE)
    sockets: list[WebSocketRoute] = []

    def between(socket: WebSocketRoute) -> None:
        socket.connect_to_server()
        sockets.append(socket)

    page.route_web_socket(re.compile("/dashboard/live"), between)
    page.goto("/dashboard/")
    page.wait_for_selector(LIVE)
    sockets[0].close()
    page.wait_for_selector("#connection:not([data-state=live])")
    page.wait_for_selector(LIVE)
    assert len(sockets) == 2
    context.close()


def test_a_refresh_leaves_what_a_person_did(page: Page, client: anthropic.Anthropic) -> None:
    ask(client)
    page.goto("/dashboard/")
    page.locator("#tokens-table summary").click()
    page.evaluate("document.querySelector('#by-status').dataset.mark = 'the same'")
    with page.expect_response(lambda response: response.url.endswith("/dashboard/")):
        page.evaluate("htmx.ajax('GET', location.pathname, {target: '[data-refresh]', swap: 'morph:innerHTML'})")
    page.wait_for_selector(".htmx-request, .htmx-settling", state="detached")  # eval is not for us: CSP
    assert page.locator("#tokens-table").get_attribute("open") is not None
    assert page.locator("#by-status").get_attribute("data-mark") == "the same"


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("path", PATHS)
def test_every_page_is_accessible_and_complains_of_nothing(
    page: Page, client: anthropic.Anthropic, path: str, theme: Any
) -> None:
    complaints = Complaints()
    complaints.listen(page)
    ask(client, session="a-session")
    page.emulate_media(color_scheme=theme, reduced_motion="reduce")
    page.goto(path)
    page.wait_for_selector(LIVE)
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert complaints.found == []


@pytest.mark.parametrize("path", ["/dashboard/personal-keys", "/dashboard/login"])
def test_pages_without_a_frame_are_accessible_too(page: Page, path: str) -> None:
    complaints = Complaints()
    complaints.listen(page)
    page.goto(path)
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert complaints.found == []


@pytest.mark.parametrize("path", PATHS)
def test_every_page_fits_every_width(page: Page, path: str) -> None:
    page.goto(path)
    for width in (390, 768, 1440, 2560):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, width
    page.set_viewport_size({"width": 1280, "height": 720})


def test_a_page_is_light_after_the_first_visit(browser: Browser, nexus: Served) -> None:
    context, page = signed_in(browser, nexus)
    page.goto("/dashboard/")
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    sizes: list[float] = []
    hosts: set[str] = set()
    session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    page.goto("/dashboard/")
    page.wait_for_selector(LIVE)
    assert sum(sizes) < WEIGHT_MAX_BYTES
    assert hosts == {nexus.url.split("/")[2]}, "nothing comes from elsewhere"
    context.close()


def test_the_dashboards_key_opens_it_in_a_browser(browser: Browser, nexus: Served) -> None:
    context = browser.new_context(base_url=nexus.url)
    page = context.new_page()
    page.goto("/dashboard/requests?model=claude-haiku-4-5")
    page.fill("#key", "wrong")
    page.click("button:has-text('Sign in')")
    expect(page.get_by_role("alert")).to_contain_text("is not the one")
    page.fill("#key", FAKE_DASHBOARD_KEY)
    page.click("button:has-text('Sign in')")
    page.wait_for_url("**/dashboard/requests?model=claude-haiku-4-5")
    page.wait_for_selector(LIVE)
    assert FAKE_DASHBOARD_KEY not in json.dumps(context.cookies())
    page.click("text=Sign out")
    page.wait_for_url("**/dashboard/login")
    context.close()


def test_without_scripts_the_figures_are_there(browser: Browser, nexus: Served) -> None:
    context = browser.new_context(base_url=nexus.url, java_script_enabled=False)
    page = context.new_page()
    page.goto("/dashboard/login")
    page.fill("#key", FAKE_DASHBOARD_KEY)
    page.click("button:has-text('Sign in')")
    page.goto("/dashboard/?range=7d")
    expect(page.locator(".tile").first).to_contain_text("Requests")
    context.close()


def test_a_script_hears_of_conversations(nexus: Served, client: anthropic.Anthropic) -> None:
    headers = {"X-Dashboard-Key": FAKE_DASHBOARD_KEY}
    with httpx.stream("GET", f"{nexus.url}/dashboard/sse", headers=headers, timeout=20, trust_env=False) as answer:
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream")
        events = _events(answer)
        first = next(events)
        assert (first["type"], set(first)) == ("connected", {"type", "connectionId", "timestamp"})
        request_id = ask(client)
        conversation = next(event for event in events if event.get("id") == request_id)
        metrics = next(event for event in events if event["type"] == "metrics")
    assert set(conversation) == {"type", "id", "domain", "model", "tokens", "timestamp"}
    assert (conversation["type"], conversation["domain"]) == ("conversation", "localhost")
    assert metrics["domain"] == "global"
    assert metrics["requests"] >= 1, "of the same second, what another test asked for included"


def _events(answer: httpx.Response) -> Iterator[dict[str, Any]]:
    for line in answer.iter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


def test_events_are_for_who_may_look(nexus: Served) -> None:
    answer = httpx.get(f"{nexus.url}/dashboard/sse", trust_env=False)
    assert (answer.status_code, "X-Dashboard-Key" in answer.json()["error"]) == (401, True)


# --- The list of requests and the page of one -------------------------------------------------------------------------


def test_the_list_follows_what_ends_and_waits_for_who_reads(
    page: Page, nexus: Served, client: anthropic.Anthropic
) -> None:
    nexus.exchange(ask(client))
    page.goto("/dashboard/requests")
    page.wait_for_selector(LIVE)
    page.wait_for_selector("#rows")
    first = ask(client)
    page.wait_for_selector(f"#rows tbody tr:first-child[data-id='{first}']")
    page.keyboard.press("l")
    second = ask(client)
    page.get_by_role("button", name="1 new request").click()
    page.wait_for_selector(f"#rows tbody tr:first-child[data-id='{second}']")
    expect(page.locator("#pause")).to_have_text("Go on")


def test_a_filtered_list_takes_what_it_is_about(page: Page, client: anthropic.Anthropic) -> None:
    page.goto("/dashboard/requests?session=wanted")
    page.wait_for_selector(LIVE)
    ask(client, session="other")
    wanted = ask(client, session="wanted")
    page.get_by_role("button", name="1 new request").click()  # an empty list is loaded anew
    page.wait_for_selector(f"tr[data-id='{wanted}']")
    assert page.locator("#rows tbody tr").count() == 1


def test_the_keyboard_leads_through_it(page: Page, nexus: Served, client: anthropic.Anthropic) -> None:
    request_id = ask(client)
    nexus.exchange(request_id)
    page.goto("/dashboard/requests")
    page.wait_for_selector(f"tr[data-id='{request_id}']")
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#help")).not_to_be_visible()
    page.keyboard.press("/")
    expect(page.locator("#search")).to_be_focused()
    page.keyboard.type("jk")
    expect(page.locator("#search")).to_have_value("jk")
    page.keyboard.press("Escape")
    for key in ("j", "j", "k"):
        page.keyboard.press(key)
    expect(page.locator("#rows tbody tr").first).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url("**/dashboard/requests/*")


def test_columns_are_remembered(page: Page, nexus: Served, client: anthropic.Anthropic) -> None:
    nexus.exchange(ask(client))
    page.goto("/dashboard/requests")
    expect(page.locator("th.col-agent")).not_to_be_visible()
    page.locator("summary", has_text="Columns").click()
    page.get_by_label("Client", exact=True).check()
    expect(page.locator("th.col-agent")).to_be_visible()
    page.reload()
    expect(page.locator("th.col-agent")).to_be_visible()


def test_hostile_text_acts_in_no_browser(page: Page, nexus: Served, client: anthropic.Anthropic) -> None:
    complaints = Complaints()
    complaints.listen(page)
    page.goto("/dashboard/requests")
    page.wait_for_selector(LIVE)
    headers = {"user-agent": SCRIPT, "x-claude-code-session-id": SCRIPT}
    for model in (SCRIPT, "claude-haiku-4-5"):
        body = {"model": model, "max_tokens": 64, "messages": [{"role": "user", "content": ALL}], "system": ALL}
        answer = httpx.post(
            f"{nexus.url}/v1/messages",
            json=body,
            headers={**headers, "x-api-key": nexus.key, "anthropic-version": "2023-06-01"},
            trust_env=False,
        )
        request_id = answer.headers["x-nexus-request-id"]
        page.wait_for_selector(f"tr[data-id='{request_id}']")
        nexus.exchange(request_id)
        other = page.context.new_page()
        complaints.listen(other)
        for path in (f"/dashboard/requests/{request_id}", "/dashboard/requests", "/dashboard/", "/dashboard/usage"):
            other.goto(path)
            other.wait_for_selector(LIVE)
            assert other.evaluate("window.hacked") is None, path
        other.close()
    assert page.evaluate("window.hacked") is None
    assert complaints.found == []
