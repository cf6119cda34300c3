import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from accounts.models import Credential
from tests.conftest import POOLED

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(("secret", "is_told"), [("", False), ("sk-ant-api03-fake-credential-0002", True)])
def test_the_history_tells_whether_the_secret_was_changed(
    admin_client: Client, credential: Credential, secret: str, is_told: bool
) -> None:
    form = {"domain": str(credential.domain_id), "name": "renamed", "kind": "api_key", "priority": "0", **POOLED}
    admin_client.post(f"/admin/accounts/credential/{credential.id}/change/", form | {"secret": secret})
    told = LogEntry.objects.get().change_message
    assert "Name" in told
    assert ("secret" in told) is is_told
