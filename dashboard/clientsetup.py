"""GET /client-setup/NAME: files with which a program or a container begins, such as a `.claude.json` that spares Claude
Code its first questions. Anybody may fetch them: they hold no secret."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from accounts.guard import RETRY_SECONDS, address_of, is_exhausted

RATE = "60/m"
MAX_BYTES = 1_000_000
MAX_AGE_SECONDS = 3600
TYPES = {".js": "text/javascript", ".json": "application/json", ".sh": "text/x-shellscript"}


@require_safe
def client_setup(request: HttpRequest, name: str) -> HttpResponse:
    if is_exhausted(request, "client-setup", RATE, address_of(request), counts=True):
        return _told(429, "Too many downloads from this address. Wait a minute, then try again.")
    if not _is_plain(name):
        return _told(400, "Give the name of a file alone, such as .claude.json.")
    content = _read(settings.CLIENT_SETUP / name)
    if content is None and name in GENERATED:
        content = GENERATED[name](request)
    if content is None:
        raise Http404
    response = HttpResponse(content, content_type=TYPES.get(Path(name).suffix, "text/plain; charset=utf-8"))
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["Cache-Control"] = f"public, max-age={MAX_AGE_SECONDS}"
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _is_plain(name: str) -> bool:
    return name.isascii() and name.isprintable() and not set(name) & set('/\\%"<>:|?*') and name.strip(". ") != ""


def _read(path: Path) -> bytes | None:
    """Only what lies in the folder itself: no link leads out of it."""
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_BYTES:
            return None
        return path.read_bytes()
    except OSError:
        return None


def _told(status: int, sentence: str) -> HttpResponse:
    response = HttpResponse(sentence, status=status, content_type="text/plain; charset=utf-8")
    if status == 429:
        response["Retry-After"] = str(RETRY_SECONDS)
    return response


# --- What an operator need not put there ------------------------------------------------------------------------------


def _claude_json(request: HttpRequest) -> bytes:
    """Claude Code's own state, past its first questions."""
    return _json({"hasCompletedOnboarding": True, "theme": "dark"})


def _settings_json(request: HttpRequest) -> bytes:
    """Claude Code's settings: this Nexus as its base URL. The key stays with whoever has it."""
    return _json({"env": {"ANTHROPIC_BASE_URL": _base_url(request)}})


def _env(request: HttpRequest) -> bytes:
    """Variables that the SDKs and Claude Code read. The key stays with whoever has it."""
    lines = (
        "# Put your client key behind the second line, then load it: set -a; . ./nexus.env; set +a",
        f"ANTHROPIC_BASE_URL={_base_url(request)}",
        "ANTHROPIC_AUTH_TOKEN=",
    )
    return "\n".join((*lines, "")).encode()


def _shell(request: HttpRequest) -> bytes:
    """Sets them in the shell that reads it, and asks for the key where it is not set yet."""
    lines = (
        "# Read it into your shell: . ./nexus.sh",
        f"export ANTHROPIC_BASE_URL={shlex.quote(_base_url(request))}",
        'if [ -z "${ANTHROPIC_AUTH_TOKEN:-}" ]; then',
        '    printf "Client key of Nexus: " >&2',
        "    stty -echo 2>/dev/null; read -r ANTHROPIC_AUTH_TOKEN; stty echo 2>/dev/null",
        "    echo >&2",
        "fi",
        "export ANTHROPIC_AUTH_TOKEN",
    )
    return "\n".join((*lines, "")).encode()


def _base_url(request: HttpRequest) -> str:
    return request.build_absolute_uri("/").rstrip("/")


def _json(content: object) -> bytes:
    return json.dumps(content, indent=2).encode() + b"\n"


GENERATED: dict[str, Callable[[HttpRequest], bytes]] = {
    ".claude.json": _claude_json,
    "settings.json": _settings_json,
    "nexus.env": _env,
    "nexus.sh": _shell,
}
