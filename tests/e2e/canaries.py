"""Secrets that are planted all over a served Nexus, and how to tell where one of them has come out."""

import base64
import contextlib
import hashlib
import re
import socket
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import redis
import zstandard

from tests.served import Served
from tests.services import RedisServer

AROUND = 80
"""Bytes before a find that a failure shows."""
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


@dataclass
class Canaries:
    """Each is a word of its own within a secret; no mask shows any of it, as none shows more than the ends."""

    words: dict[str, str] = field(default_factory=dict)

    def plant(self, name: str, start: str = "", end: str = "0000") -> str:
        """A secret that looks as its kind does."""
        word = "Canary" + hashlib.sha256(name.encode()).hexdigest()[:24]
        self.words[name] = word
        return f"{start}{word}{end}"

    def note(self, name: str, secret: str) -> str:
        """One that somebody else has made; its ends may be shown."""
        self.words[name] = secret[17:-4]
        return secret

    def found(self, content: bytes) -> list[str]:
        """What has come out, in which form, and what stands before it; nothing is as it should be."""
        kinds = {form: f"{name} ({kind})" for name, word in self.words.items() for kind, form in _forms(word)}
        pattern = re.compile(b"|".join(map(re.escape, kinds)))
        return [
            f"{kinds[match.group()]} after {content[max(0, match.start() - AROUND) : match.start()]!r}"
            for match in pattern.finditer(content)
        ]


def _forms(word: str) -> Iterator[tuple[str, bytes]]:
    """Letters and digits stay what they are in URLs, JSON and HTML; base64 depends on what stands before."""
    plain = word.encode()
    yield "plain", plain
    yield "hex", plain.hex().encode()
    yield "percent", "".join(f"%{byte:02X}" for byte in plain).encode()
    for shift in range(3):
        coded = base64.b64encode(b"\0" * shift + plain)
        yield "base64", coded[4 if shift else 0 : len(coded) - 4]


# --- What is kept, whole ----------------------------------------------------------------------------------------------


def database(served: Served) -> bytes:
    """Every value of every table, what is compressed there as it was before."""
    return b"\n".join(
        _plain(value) for table in _tables(served) for row in served.rows(table) for value in row.values()
    )


def _tables(served: Served) -> list[str]:
    if served.database_url:
        query = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        with psycopg.connect(served.database_url) as connection:
            return [name for (name,) in connection.execute(query)]
    with contextlib.closing(sqlite3.connect(served.data / "nexus.db")) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]


def _plain(value: Any) -> bytes:
    if not isinstance(value, bytes | memoryview):
        return str(value).encode()
    content = bytes(value)
    if not content.startswith(ZSTD_MAGIC):
        return content
    return zstandard.ZstdDecompressor().decompressobj().decompress(content)


def files(folder: Path) -> bytes:
    """Raw: also what a file of SQLite has deleted and not yet overwritten."""
    return b"\n".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


@dataclass
class HeardRedis:
    """A Redis with a password, and every command that anybody sends it."""

    url: str
    heard: bytearray = field(default_factory=bytearray)

    def dump(self) -> bytes:
        with contextlib.closing(redis.Redis.from_url(self.url)) as client:
            kept = [repr(_value(client, key)).encode() for key in client.scan_iter(count=1000)]
        return b"\n".join([bytes(self.heard), *kept])


def _value(client: "redis.Redis", key: bytes) -> Any:
    reading: dict[Any, Any] = {
        b"string": client.get,
        b"hash": client.hgetall,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"set": client.smembers,
        b"zset": lambda key: client.zrange(key, 0, -1),
        b"stream": client.xrange,
    }
    return key, reading[client.type(key)](key)


@contextlib.contextmanager
def heard_redis(folder: Path, password: str) -> Iterator[HeardRedis]:
    server = RedisServer(folder)
    server.start()
    try:
        with contextlib.closing(redis.Redis.from_url(server.url)) as client:
            client.config_set("requirepass", password)
        found = HeardRedis(server.url.replace("//", f"//:{password}@"))
        with socket.create_connection(("127.0.0.1", server.port)) as listener:
            listener.sendall(f"AUTH {password}\r\nMONITOR\r\n".encode())
            thread = threading.Thread(target=_listen, args=(listener, found.heard), daemon=True)
            thread.start()
            yield found
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)
    finally:
        server.stop()


def _listen(listener: socket.socket, heard: bytearray) -> None:
    with contextlib.suppress(OSError):
        while chunk := listener.recv(65536):
            heard += chunk
