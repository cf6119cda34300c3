"""The key file of a first run on a laptop: what a production set-up gives in variables."""

import json
import os
import secrets
from pathlib import Path
from typing import TypedDict

import msgspec
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured


class Keys(TypedDict):
    secret_key: str
    encryption_keys: str


def ensure(data: Path) -> Keys:
    """The keys in DATA/keys.json, written with mode 0600 if there are none yet.

    Two processes that start together agree: the file appears whole or not at all, and the first one wins.
    """
    path = data / "keys.json"
    if not path.exists():
        _publish(path, {"secret_key": secrets.token_urlsafe(48), "encryption_keys": new_encryption_key()})
    try:
        return msgspec.json.decode(path.read_bytes(), type=Keys)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ImproperlyConfigured(
            f"{path} is not a key file of Nexus ({type(error).__name__}). Restore it from a backup: without it "
            "stored credentials cannot be read."
        ) from None


def put_in_front() -> None:
    """A new key before the one of the key file; where there are several already, the last time was not finished. Raises
    ImproperlyConfigured where there is none."""
    path = used_file()
    keys = ensure(path.parent)
    if "," in keys["encryption_keys"]:
        return
    _replace(path, {**keys, "encryption_keys": f"{new_encryption_key()},{keys['encryption_keys']}"})


def keep_first() -> None:
    """Nothing needs the others any more."""
    path = used_file()
    keys = ensure(path.parent)
    _replace(path, {**keys, "encryption_keys": keys["encryption_keys"].split(",")[0]})


def used_file() -> Path:
    """Where the keys in use are. The settings are not read here: they would hold on to the keys as they were. Raises
    ImproperlyConfigured where the keys come from variables."""
    path = Path(os.environ.get("NEXUS_DATA", "data")) / "keys.json"
    if os.environ.get("NEXUS_ENCRYPTION_KEYS") or os.environ.get("NEXUS_ENCRYPTION_KEYS_FILE") or not path.exists():
        raise ImproperlyConfigured(
            "There is no key file in use: put a new key in front of NEXUS_ENCRYPTION_KEYS yourself, as "
            "`nexus generate-secret NEXUS_ENCRYPTION_KEYS` makes them, and run this without --new-key."
        )
    return path


def new_encryption_key() -> str:
    return Fernet.generate_key().decode()


def _publish(path: Path, keys: Keys) -> None:
    """As a new file; one that is there already stays."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = _written(path, keys)
    try:
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink(missing_ok=True)


def _replace(path: Path, keys: Keys) -> None:
    _written(path, keys).replace(path)


def _written(path: Path, keys: Keys) -> Path:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(keys, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    return draft
