"""The list of requests and the page of one, no further than a viewer may see, with hostile text in every field."""

import json
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from accounts.ids import new_id
from accounts.models import ClientKey, Credential, Domain
from telemetry.models import ExchangeRow
from tests.dashboard.pages.hostile import ALL, FORBIDDEN, SCRIPT
from tests.telemetry.facts import stored_exchange

pytestmark = pytest.mark.django_db(transaction=True)
LIST = "/dashboard/requests"


def text(client: Client, path: str, status: int = 200) -> str:
    answer = client.get(path)
    assert answer.status_code == status, answer.content
    return answer.content.decode()


def test_a_row_leads_to_its_page(admin: Client, domain: Domain) -> None:
    row = stored_exchange(domain_id=domain.id, model="claude-opus-5", status=429)
    page = text(admin, LIST)
    assert f'href="/dashboard/requests/{row.id}"' in page
    assert "claude-opus-5" in page
    assert '<a class="chip warn" href="?status=429">429</a>' in page
    narrowed = text(admin, f"{LIST}?status=429")
    assert 'href="?status=429&amp;model=claude-opus-5">claude-opus-5</a>' in narrowed, (
        "each value narrows the list further"
    )


def test_every_filter_has_a_chip_that_takes_it_off(admin: Client, issued: tuple[ClientKey, str]) -> None:
    key = issued[0]
    wanted = stored_exchange(domain_id=key.domain_id, client_key_id=key.id, model="m", status=529, session_id="s")
    other = stored_exchange(model="other")
    query = f"domain=claude.example.com&key={key.id}&model=m&status=5xx&outcome=completed&session=s&range=15m"
    page = text(admin, f"{LIST}?{query}")
    assert str(wanted.id) in page
    assert str(other.id) not in page
    assert f"key: <b>{key.name}" in page.replace("&#x27;", "'")
    without = query.replace("&model=m", "").replace("&", "&amp;").split("domain")[1]
    assert page.count('title="Take this filter off"') == 7
    assert f"claude.example.com&amp;key={key.id}" in page
    assert "model=m" in page
    assert without


def test_the_model_that_answered_is_found_too(admin: Client) -> None:
    row = stored_exchange(model="claude-haiku-4-5", answered_model="claude-haiku-4-5-20251001")
    for model in ("claude-haiku-4-5", "claude-haiku-4-5-20251001"):
        assert str(row.id) in text(admin, f"{LIST}?model={model}")


def test_pages_follow_one_another(admin: Client, django_assert_max_num_queries: DjangoAssertNumQueries) -> None:
    rows = [stored_exchange() for _ in range(53)]
    with django_assert_max_num_queries(10):
        first = text(admin, LIST)
    assert str(rows[-1].id) in first
    assert str(rows[2].id) not in first
    older = first.split('rel="next" href="')[1].split('"')[0].replace("&amp;", "&")
    second = text(admin, LIST + older)
    assert [str(row.id) in second for row in rows[:4]] == [True, True, True, False]
    assert 'rel="next"' not in second
    assert "Newest" in second


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("status=9xx", "a status is a number"),
        ("cursor=x", "next_cursor"),
        ("range=2y", "There is no range"),
        ("since=x", "ISO 8601"),
        ("q=req_unknown", "There is no request"),
        (f"q={new_id()}", "There is no request"),
        ("outcome=well", "outcome"),
    ],
)
def test_what_cannot_be_asked_is_told(admin: Client, query: str, sentence: str) -> None:
    assert sentence in text(admin, f"{LIST}?{query}", 400)


def test_searching_leads_to_a_request_or_to_words(admin: Client) -> None:
    row = stored_exchange(upstream_request_id="req_01wanted")
    for name in (str(row.id), "req_01wanted", f" {row.id.hex} "):
        assert admin.get(LIST, {"q": name}).headers["Location"] == f"/dashboard/requests/{row.id}"
    assert admin.get(LIST, {"q": "two words", "model": "m"}).headers["Location"] == f"{LIST}?model=m&text=two+words"


def test_empty_lists_say_which_kind_of_empty(admin: Client) -> None:
    assert "No request has come yet" in text(admin, LIST)
    assert "No request matches these filters" in text(admin, f"{LIST}?model=x")


def test_anothers_requests_are_like_none(ada: Client, domain: Domain, other_domain: Domain) -> None:
    theirs = stored_exchange(domain_id=other_domain.id, upstream_request_id="req_theirs", session_id="theirs")
    nobodys = stored_exchange(domain_id=None)
    mine = stored_exchange(domain_id=domain.id)
    key, _ = ClientKey.issue(other_domain, "a name that nobody may read")
    credential = Credential.objects.create(domain=other_domain, name="their credential", secret="sk-ant-api03-fake-0")
    page = text(ada, LIST)
    assert str(mine.id) in page
    assert str(theirs.id) not in page
    assert str(nobodys.id) not in page
    for name in (str(theirs.id), "req_theirs", str(nobodys.id)):
        same = text(ada, f"{LIST}/{name}", 404)
        assert same == text(ada, f"{LIST}/{new_id()}", 404)
        assert "There is no request" in text(ada, f"{LIST}?q={name}", 400)
    for query in (f"key={key.id}", f"credential={credential.id}", "domain=other.example.com", "session=theirs"):
        found = text(ada, f"{LIST}?{query}")
        assert "No request matches" in found
        assert "nobody may read" not in found
        assert "their credential" not in found


def test_what_was_said_takes_its_permission(ada: Client, domain: Domain) -> None:
    body = json.dumps({"messages": [{"role": "user", "content": "a private question"}]}).encode()
    row = stored_exchange(body, b"{}", domain_id=domain.id)
    page = text(ada, f"{LIST}/{row.id}")
    assert "private question" not in page + text(ada, LIST)
    assert "view_bodyrow" in page
    assert "permission to view bodies" in text(ada, f"{LIST}?text=private", 400)
    User.objects.get(username="ada").user_permissions.add(Permission.objects.get(codename="view_bodyrow"))
    assert "private question" in text(ada, f"{LIST}/{row.id}")


def hostile(domain: Domain) -> ExchangeRow:
    message: dict[str, Any] = {
        "type": "message",
        "role": SCRIPT,
        "content": [
            {"type": "text", "text": ALL},
            {"type": "thinking", "thinking": ALL},
            {"type": "tool_use", "name": SCRIPT, "id": SCRIPT, "input": {SCRIPT: ALL}},
            {"type": SCRIPT, SCRIPT: ALL},
        ],
    }
    asked = {
        "model": SCRIPT,
        "system": ALL,
        "tools": [{"name": SCRIPT}],
        "messages": [
            {"role": SCRIPT, "content": ALL},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": SCRIPT, "content": ALL}]},
        ],
    }
    row = stored_exchange(
        json.dumps(asked).encode(),
        json.dumps(message).encode(),
        domain_id=domain.id,
        is_stream=False,
        model=SCRIPT,
        answered_model=SCRIPT,
        user_agent=SCRIPT,
        error_type=SCRIPT,
        error_message=ALL,
        refused_by=SCRIPT,
        session_id=SCRIPT,
        stop_reason=SCRIPT,
        path=SCRIPT,
        query=SCRIPT,
        upstream_request_id=SCRIPT,
        tries=SCRIPT,
        client_address=SCRIPT,
    )
    return ExchangeRow.objects.get(id=row.id)


def test_hostile_text_acts_nowhere(admin: Client, domain: Domain) -> None:
    row = hostile(domain)
    ClientKey.issue(domain, SCRIPT)
    Credential.objects.create(domain=domain, name=SCRIPT, secret="sk-ant-api03-fake-0", owner=SCRIPT)
    paths = [f"{LIST}/{row.id}", LIST, "/dashboard/", "/dashboard/usage", "/dashboard/latency", "/dashboard/keys"]
    for path in [*paths, "/dashboard/credentials", "/dashboard/start", f"{LIST}?model={SCRIPT}&session={SCRIPT}"]:
        page = text(admin, path)
        assert not [each for each in FORBIDDEN if each in page], path


def test_a_page_costs_few_queries(
    admin: Client, domain: Domain, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    row = hostile(domain)
    with django_assert_max_num_queries(14):
        text(admin, f"{LIST}/{row.id}")


def test_a_request_is_copied_without_its_secret(admin: Client, domain: Domain) -> None:
    body = b'{"messages":[{"role":"user","content":"It\'s $HOME `id`"}]}'
    row = stored_exchange(body, b"{}", domain_id=domain.id)
    page = text(admin, f"{LIST}/{row.id}")
    assert "x-api-key: $NEXUS_API_KEY" in page
    curl = page.split('<pre id="curl" tabindex="0">')[1].split("</pre>")[0]
    assert "content-type: application/json" in curl
    assert "It&#x27;&quot;&#x27;&quot;&#x27;s $HOME `id`" in curl, "quoted for a shell"
