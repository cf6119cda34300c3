"""A client key gets a new secret, and its programs time to take it over."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from accounts.keys import KeyRing, Refused
from accounts.models import ClientKey
from accounts.register import load

Issued = tuple[ClientKey, str]
DAY = timedelta(days=1)


def ring() -> KeyRing:
    snapshot = load()
    return KeyRing(lambda: snapshot)


def test_both_secrets_are_good_for_a_while(issued: Issued) -> None:
    key, old = issued
    new = key.rotate(DAY)
    assert ring().recognise(new, "")[0].id == key.id
    assert [ring().recognise(secret, "")[1] for secret in (new, old)] == [False, True]
    assert old not in str(ClientKey.objects.values().get(id=key.id))


def test_then_the_old_one_is_over_and_says_so(issued: Issued) -> None:
    key, old = issued
    new = key.rotate(DAY)
    ClientKey.objects.update(previous_until=timezone.now() - timedelta(seconds=1))
    with pytest.raises(Refused, match="given a new secret"):
        ring().authenticate(old, "")
    assert ring().authenticate(new, "").id == key.id


def test_without_grace_it_is_over_at_once(issued: Issued) -> None:
    key, old = issued
    key.rotate(timedelta(0))
    with pytest.raises(Refused, match="not known"):
        ring().authenticate(old, "")


def test_a_second_rotation_ends_the_oldest(issued: Issued) -> None:
    key, first = issued
    second = key.rotate(DAY)
    third = key.rotate(DAY)
    with pytest.raises(Refused):
        ring().authenticate(first, "")
    assert [ring().recognise(secret, "")[1] for secret in (second, third)] == [True, False]


def test_revoking_and_ending_reach_the_old_secret_too(issued: Issued) -> None:
    key, old = issued
    new = key.rotate(DAY)
    key.end_previous()
    with pytest.raises(Refused, match="not known"):
        ring().authenticate(old, "")
    key.rotate(DAY)
    key.revoke()
    for secret in (old, new):
        with pytest.raises(Refused):
            ring().authenticate(secret, "")


def test_the_admin_rotates_and_shows_the_new_secret_once(admin_client: Client, issued: Issued) -> None:
    key, old = issued
    form = {"action": "rotate_within_a_day", "_selected_action": [str(key.id)]}
    asked = admin_client.post("/admin/accounts/clientkey/", form).content.decode()
    assert "stays good for a day" in asked
    assert ring().recognise(old, "")[1] is False, "not before somebody has confirmed it"
    answer = admin_client.post("/admin/accounts/clientkey/", form | {"confirmed": "yes"})
    assert "no-store" in answer.headers["Cache-Control"]
    new = answer.content.decode().split('<code id="secret-1">')[1].split("<")[0]
    assert ring().recognise(new, "")[1] is False
    assert ring().recognise(old, "")[1] is True
    again = admin_client.get("/admin/accounts/clientkey/").content.decode()
    assert new not in again
    assert f"…{old[-4:]} good until" in again
    admin_client.post("/admin/accounts/clientkey/", {**form, "action": "end_old_secret", "confirmed": "yes"})
    key.refresh_from_db()
    assert not key.has_previous
