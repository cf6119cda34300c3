"""Workload identity federation: the platform's identity token, and the grant that turns it into one of Anthropic's
(facts/claude-api.md 7.1)."""

import os
import re
import subprocess
from pathlib import Path

from accounts.models import Credential
from accounts.oauth.conf import OAuthConf
from accounts.oauth.endpoint import TokenError

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ASSERTION_MAX_BYTES = 64_000
COMMAND_SECONDS = 10
_WORD = re.compile(r"[\x21-\x7e]+")
_OURS = ("NEXUS_", "CLAUDE_", "DATABASE_", "REDIS_", "SLACK_", "METRICS_", "DASHBOARD_", "OTEL_")
"""Variables that the command does not get: they hold our secrets."""


def grant(conf: OAuthConf, credential: Credential) -> dict[str, str]:
    """Raises TokenError."""
    assertion = _from_file(conf, credential.assertion_file) if credential.assertion_file else _from_command(conf)
    said = {
        "service_account_id": credential.service_account_id,
        "workspace_id": credential.workspace_id,
    }
    return {
        "grant_type": GRANT,
        "assertion": assertion,
        "federation_rule_id": credential.federation_rule_id,
        "organization_id": credential.organization_id,
        **{name: value for name, value in said.items() if value},
    }


def _from_file(conf: OAuthConf, name: str) -> str:
    path = Path(os.path.realpath(name))
    if not any(path.is_relative_to(os.path.realpath(folder)) for folder in conf.federation_dirs):
        raise TokenError(f"The identity token {name} is in no folder of FEDERATION_DIRS.")
    try:
        if not path.is_file():
            raise TokenError(f"There is no identity token at {name}.")
        with path.open("rb") as file:
            return _checked(file.read(ASSERTION_MAX_BYTES + 1), f"The identity token in {name}")
    except OSError as error:
        raise TokenError(f"The identity token {name} cannot be read ({type(error).__name__}).") from None


def _from_command(conf: OAuthConf) -> str:
    if not conf.federation_command:
        raise TokenError("The credential names no file with an identity token, and FEDERATION_COMMAND is not set.")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    try:
        done = subprocess.run(  # noqa: S603 (the operator's own command, without a shell)
            conf.federation_command, env=environment, capture_output=True, timeout=COMMAND_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise TokenError(f"FEDERATION_COMMAND has not ended within {COMMAND_SECONDS} seconds.") from None
    except OSError as error:
        raise TokenError(f"FEDERATION_COMMAND cannot be run ({type(error).__name__}).") from None
    if done.returncode != 0:
        raise TokenError(f"FEDERATION_COMMAND ended with exit code {done.returncode}.")
    return _checked(done.stdout, "What FEDERATION_COMMAND printed")


def _checked(content: bytes, what: str) -> str:
    if len(content) > ASSERTION_MAX_BYTES:
        raise TokenError(f"{what} is larger than {ASSERTION_MAX_BYTES:,} bytes.")
    text = content.decode("ascii", "replace").strip()
    if text.count(".") != 2 or not _WORD.fullmatch(text):
        raise TokenError(f"{what} is no JWT.")
    return text
