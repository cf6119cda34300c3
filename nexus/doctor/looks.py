"""Each part of an installation, looked at. Nothing is changed and nothing is called that costs money."""

import os
import shutil
import socket
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import redis
from django.conf import settings
from django.db import connection

from accounts import rotation
from accounts.crypto import key_count
from accounts.schema import missing_migrations
from nexus.doctor.finding import Finding, Stopwatch, told

POSTGRES_MIN = 140_000
REDIS_MIN = (6, 2)
PATIENCE_SECONDS = 2
CLOCK_SECONDS = 1.0
SLOW_MS = 50.0
SPARE_CONNECTIONS = 10


# --- The database ---------------------------------------------------------------------------------------------------


def database() -> list[Finding]:
    if connection.vendor == "sqlite":
        return [_sqlite()]
    found = Finding("database", f"PostgreSQL at {address_of(settings.DATABASE_URL)}")
    try:
        _look_at_postgres(found)
    except Exception as error:
        found.fail(f"It does not answer ({told(error)}). Requests go on; their record waits in the spool.")
    finally:
        connection.close()
    return [found]


def _sqlite() -> Finding:
    path = Path(str(connection.settings_dict["NAME"]))
    found = Finding("database", f"SQLite in {path}: one machine, one process")
    if not path.exists():
        found.warn("There is no database yet: `nexus serve` makes it.")
        return found
    watch = Stopwatch()
    try:
        _tell_missing_migrations(found)
        found.response_ms = watch.ms
    except Exception as error:
        found.fail(f"It cannot be read ({told(error)}).")
    finally:
        connection.close()
    return found


def _look_at_postgres(found: Finding) -> None:
    watch = Stopwatch()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    connected_ms, watch = watch.ms, Stopwatch()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('server_version_num')::int, current_setting('server_version'), "
            "current_setting('max_connections')::int, (SELECT count(*) FROM pg_stat_activity), clock_timestamp()"
        )
        number, version, connections_max, connections, clock = cursor.fetchone()
    found.response_ms = watch.ms
    found.mode = f"PostgreSQL {version.split(' ')[0]} at {address_of(settings.DATABASE_URL)}"
    if number < POSTGRES_MIN:
        found.fail(f"PostgreSQL {version} is too old: use 14 or later.")
    if connected_ms > 20 * SLOW_MS:
        found.warn(f"To connect took {connected_ms:.0f} ms.")
    left = connections_max - connections
    if left < settings.DB_POOL_SIZE + SPARE_CONNECTIONS:
        found.warn(
            f"{connections} of {connections_max} connections are in use, and each process takes up to "
            f"{settings.DB_POOL_SIZE} (DB_POOL_SIZE). Raise max_connections, or lower DB_POOL_SIZE."
        )
    _tell_clock(found, clock)
    _tell_missing_migrations(found)


def _tell_missing_migrations(found: Finding) -> None:
    if missing := missing_migrations():
        found.fail(f"{len(missing)} migrations are missing, the first is {missing[0]}. Run `nexus migrate`.")


def _tell_clock(found: Finding, theirs: datetime) -> None:
    apart = abs((datetime.now(UTC) - theirs).total_seconds())
    if apart > CLOCK_SECONDS:
        found.warn(
            f"Its clock and ours are {apart:.1f} s apart: hours and limits would be off. Run an NTP client on both."
        )


# --- What processes share -------------------------------------------------------------------------------------------

SHARED = {
    "cache": "shared by all processes",
    "limits": "counted in one place for all processes",
    "channel layer": "live pages hear of all processes",
    "broker": "`nexus worker` and `nexus beat` do the background work",
}
ALONE = {
    "cache": "in this process",
    "limits": "counted in this process",
    "channel layer": "in this process",
    "broker": "in this process: `nexus serve` does the background work",
}


def shared() -> list[Finding]:
    if not settings.REDIS_URL:
        return [Finding(part, f"memory, {meaning}") for part, meaning in ALONE.items()]
    where = f"Redis at {address_of(settings.REDIS_URL)}"
    found = [Finding(part, f"{where}, {meaning}") for part, meaning in SHARED.items()]
    first = found[0]
    if not settings.DATABASE_URL:
        first.warn("REDIS_URL without DATABASE_URL: several processes need PostgreSQL too.")
    client = redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=PATIENCE_SECONDS, socket_connect_timeout=PATIENCE_SECONDS
    )
    try:
        _look_at_redis(client, found)
    except redis.RedisError as error:
        first.fail(
            f"It does not answer ({told(error)}). Requests go on: each process counts limits for itself, live pages "
            "stand still, and background work waits."
        )
    finally:
        client.close()
    return found


def _look_at_redis(client: "redis.Redis", found: list[Finding]) -> None:
    client.ping()
    watch = Stopwatch()
    client.ping()
    took_ms, first = watch.ms, found[0]
    for each in found:
        each.response_ms = took_ms
    about: dict[str, Any] = client.info()
    version = str(about.get("redis_version", "0"))
    if tuple(int(part) for part in version.split(".")[:2]) < REDIS_MIN:
        first.fail(f"Redis {version} is too old: use 6.2 or later.")
    if (policy := str(about.get("maxmemory_policy", ""))) not in ("noeviction", ""):
        first.fail(
            f"maxmemory-policy is {policy}: when its memory is full, Redis would throw limits and queued work away "
            "without a word. Set noeviction."
        )
    if not int(about.get("aof_enabled", 0)) and not client.config_get("save").get("save"):
        first.warn(
            "It writes nothing to disk: after its restart windows of limits begin anew, queued work is made anew."
        )
    if took_ms > SLOW_MS:
        first.warn(f"It took {took_ms:.0f} ms to answer, and each request waits for that once. Put it nearer.")
    seconds, microseconds = client.time()
    _tell_clock(first, datetime.fromtimestamp(seconds + microseconds / 1e6, UTC))


# --- What is on this machine ----------------------------------------------------------------------------------------


def spool() -> list[Finding]:
    conf = settings.RECORD.spool
    if conf is None:
        return []
    root = conf.root
    found = Finding("spool", str(root))
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = root / f".doctor-{os.getpid()}"
        watch = Stopwatch()
        probe.write_bytes(b"?")
        probe.unlink()
        found.response_ms = watch.ms
    except OSError as error:
        found.fail(
            f"It cannot be written ({error.strerror}): exchanges would wait in memory, and die with the process."
        )
        return [found]
    free, wanted = shutil.disk_usage(root).free, conf.max_bytes
    if free < wanted:
        found.warn(
            f"{free / 1e9:.1f} GB are free, and each process may need {wanted / 1e9:.1f} GB while the database is away "
            "(NEXUS_SPOOL_MAX_BYTES)."
        )
    if waiting := sum(1 for path in root.glob("*/*.sqlite")):
        found.mode += f", {waiting} files in use or waiting"
    return [found]


def files() -> list[Finding]:
    data = settings.NEXUS_DATA
    found = Finding("data", f"{data}")
    for path in (data, data / "keys.json"):
        if path.exists() and (mode := stat.S_IMODE(path.stat().st_mode)) & 0o077:
            found.warn(f"{path} is open to others (mode {mode:o}). Run `chmod go= {path}`.")
    static = Finding("static files", settings.STATIC_ROOT or "those of the packages")
    if settings.STATIC_ROOT and not Path(settings.STATIC_ROOT).is_dir():
        static.fail("There is no such folder. Run `python manage.py collectstatic`, or leave STATIC_ROOT unset.")
    return [found, static]


def encryption() -> list[Finding]:
    count = key_count()
    found = Finding("encryption", f"{count} key{'s' if count > 1 else ''}, the first one encrypts")
    if settings.DEBUG and (settings.NEXUS_DATA / "keys.json").exists():
        found.mode += f", from {settings.NEXUS_DATA / 'keys.json'}"
    watch = Stopwatch()
    try:
        survey = rotation.survey()
    except Exception as error:
        found.warn(f"Stored secrets cannot be looked at ({told(error)}).")
        return [found]
    finally:
        connection.close()
    found.response_ms = watch.ms
    found.mode += f"; {survey.total} stored secrets"
    if survey.unreadable:
        found.fail(
            f"{len(survey.unreadable)} of them can be read with none of the keys. Add the key that they were written "
            "with to NEXUS_ENCRYPTION_KEYS."
        )
    elif not survey.is_done:
        found.warn("Some were written with an older key. Run `nexus rotate-keys`.")
    return [found]


# --- Beyond ----------------------------------------------------------------------------------------------------------


def claude_api() -> list[Finding]:
    parts = urlsplit(settings.UPSTREAM.base_url)
    found = Finding("Claude API", address_of(settings.UPSTREAM.base_url))
    if parts.scheme != "https" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        found.fail("CLAUDE_API_BASE_URL is plain http: credentials would cross the network readable for anybody.")
    watch = Stopwatch()
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=PATIENCE_SECONDS).close()
        found.response_ms = watch.ms
    except OSError as error:
        found.fail(f"It cannot be connected ({told(error)}). Is there a way out, and a proxy in between?")
    return [found]


def background() -> list[Finding]:
    from dashboard.background import pulse

    found = Finding("background work", "Celery")
    if not settings.REDIS_URL:
        found.mode = "in the process of `nexus serve`"
        return [found]
    try:
        age = pulse()["last_run_seconds_ago"]
    except Exception as error:
        found.warn(f"It cannot be asked for ({told(error)}).")
        return [found]
    if age is None:
        found.warn("No worker has done anything yet. Start `nexus worker`, and `nexus beat` once.")
    elif age > settings.WORKER_LATE_SECONDS:
        found.warn(f"Nothing was done for {age:.0f} s. Do `nexus worker` and `nexus beat` run?")
    else:
        found.mode = f"Celery, last seen {age:.0f} s ago"
    return [found]


def safety() -> list[Finding]:
    """What is refused at the start is not here: that is told before anything runs."""
    found = Finding("safety", "DEBUG, for a laptop" if settings.DEBUG else "production")
    if settings.DEBUG:
        found.warn("DEBUG=true: errors show settings, and cookies cross plain http. Only on 127.0.0.1.")
    if settings.ALLOW_UNREADABLE_SECRETS:
        found.warn("ALLOW_UNREADABLE_SECRETS=true: credentials that cannot be read are left out silently.")
    if "*" in settings.INTAKE.cors_origins:
        found.warn("CORS_ALLOWED_ORIGINS=*: any page that a user visits may call /v1 with a key that it has.")
    for advice in _about_people():
        found.warn(advice)
    return [found]


def _about_people() -> Iterator[str]:
    if settings.DEBUG:
        return
    if not settings.TRUSTED_PROXIES:
        yield (
            "TRUSTED_PROXIES is empty: behind a proxy all visitors share its address, and one limit of tries to sign "
            "in. Name its network. Without a proxy this is right."
        )
    if not settings.SECURE_HSTS_SECONDS:
        yield "HSTS_SECONDS=0: browsers are not told to come by https only."


def address_of(url: str) -> str:
    """Host, port and path: never who signs in, and never with what."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.hostname or '(local socket)'}{port}{parts.path.rstrip('/')}"


LOOKS = {
    "database": database,
    "shared": shared,
    "spool": spool,
    "files": files,
    "encryption": encryption,
    "claude_api": claude_api,
    "background": background,
    "safety": safety,
}
