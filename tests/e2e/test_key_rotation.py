"""The old secret of a client key, in every process: good while it is, refused within two seconds when it is ended."""

import os
import time
from collections.abc import Iterator

import pytest

from bench.standin import Standin
from tests.e2e.pools import ask
from tests.served import Served, eventually, serve

pytestmark = [pytest.mark.e2e, pytest.mark.once_in_cluster]

WORKERS = 4 if os.environ.get("DATABASE_URL") else 1
ASKED = 40
"""New connections, which the kernel spreads over the processes."""
ROTATE = "from datetime import timedelta\nprint(ClientKey.objects.get(name='{name}').rotate(timedelta(hours=1)))"


@pytest.fixture(scope="module")
def nexus(standin: Standin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("rotation"), standin.url, workers=WORKERS) as served:
        yield served


@pytest.mark.parametrize(
    ("name", "ending", "is_new_good", "words"),
    [
        ("ended", "end_previous()", True, "not known here"),
        ("revoked", "revoke()", False, "revoked"),
        ("late", None, True, "was given a new secret"),
    ],
)
def test_an_old_secret_ends_in_every_process(
    nexus: Served, name: str, ending: str | None, is_new_good: bool, words: str
) -> None:
    old = nexus.nexus("issue-key", "--domain", "localhost", "--name", name)
    new = nexus.run(ROTATE.format(name=name))
    assert known(nexus, old, new) == {(old, 200), (new, 200)}
    if ending is None:  # its time runs out
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        nexus.run(f"ClientKey.objects.filter(name={name!r}).update(previous_until='{now}')")
    else:
        nexus.run(f"ClientKey.objects.get(name={name!r}).{ending}")
    time.sleep(2)  # this is what is promised: no proof by waiting for it to come true
    assert {answer(nexus, old) for _ in range(ASKED)} == {401}
    assert {answer(nexus, new) for _ in range(ASKED)} == {200 if is_new_good else 401}
    assert words in ask(nexus_with(nexus, old)).body.decode()


def known(nexus: Served, *secrets: str) -> set[tuple[str, int]]:
    """Once every process has heard of the new one."""
    eventually(lambda: {answer(nexus, secrets[-1]) for _ in range(ASKED)} == {200})
    return {(secret, answer(nexus, secret)) for secret in secrets for _ in range(ASKED)}


def answer(nexus: Served, secret: str) -> int:
    return ask(nexus_with(nexus, secret)).status


def nexus_with(nexus: Served, secret: str) -> Served:
    nexus.key = secret
    return nexus
