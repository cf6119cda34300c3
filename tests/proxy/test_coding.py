import gzip
import zlib

import pytest
import zstandard

from proxy.coding import decode
from proxy.errors import BodyTooLarge, InvalidRequest

BODY = b'{"model": "claude-haiku-4-5"}' * 100
CODED = {
    "gzip": gzip.compress(BODY),
    "x-gzip": gzip.compress(BODY),
    "deflate": zlib.compress(BODY),
    "zstd": zstandard.compress(BODY),
}


@pytest.mark.parametrize("coding", CODED)
def test_it_reads_what_was_coded(coding: str) -> None:
    assert decode(CODED[coding], coding, len(BODY)) == BODY


@pytest.mark.parametrize("coding", CODED)
def test_it_unpacks_no_bomb(coding: str) -> None:
    with pytest.raises(BodyTooLarge):
        decode(CODED[coding], coding, len(BODY) - 1)


@pytest.mark.parametrize("coding", CODED)
def test_it_says_that_a_body_is_not_what_it_claims(coding: str) -> None:
    with pytest.raises(InvalidRequest, match=coding):
        decode(b"plain text", coding, 1000)


def test_a_body_of_several_members_is_read_whole() -> None:
    assert decode(gzip.compress(b"one,") + gzip.compress(b"two"), "gzip", 100) == b"one,two"
    assert decode(zstandard.compress(b"one,") + zstandard.compress(b"two"), "zstd", 100) == b"one,two"
    with pytest.raises(BodyTooLarge):
        decode(gzip.compress(b"one,") + gzip.compress(b"two"), "gzip", 6)


def test_it_says_which_codings_it_reads() -> None:
    with pytest.raises(InvalidRequest, match="gzip, deflate, zstd"):
        decode(b"", "br", 1000)
