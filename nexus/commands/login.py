"""`nexus login`: sign in for a credential from a terminal."""

import time
import webbrowser
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from nexus.commands.setup import setup

if TYPE_CHECKING:
    from accounts.models import Credential
    from accounts.oauth.login import Begun

WAIT_SECONDS = 300
PAGE = b"<!doctype html><title>Nexus</title><p>%s You may close this page."


@click.command("login")
@click.argument("name", metavar="CREDENTIAL", required=False)
@click.option("--domain", "host", help="Host name of the credential's domain; needed to make a new one.")
@click.option("--owner", help="The person who answers for it; needed to make a new one.")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=54545, show_default=True, help="To listen on for the answer."
)
@click.option("--paste", is_flag=True, help="The browser is on another machine: paste what it ends up with.")
@click.option("--no-browser", is_flag=True, help="Only print the address.")
def login(name: str | None, host: str | None, owner: str | None, port: int, paste: bool, no_browser: bool) -> None:
    """Sign in for an OAuth credential, and let Nexus renew its token from then on.

    CREDENTIAL is its name or id; with --domain and --owner it is made if there is none. The client and the place to
    sign in are those of CLAUDE_OAUTH_CLIENT_ID and CLAUDE_OAUTH_AUTHORIZE_URL; the client has to know the address
    http://localhost:PORT/callback. See docs/credentials.md for what Anthropic's terms allow.
    """
    settings = setup()
    from accounts.oauth import login as oauth

    credential = _credential(name, host, owner)
    redirect_url = f"http://localhost:{port}/callback"
    try:
        begun = oauth.begin(settings.OAUTH, redirect_url)
        click.echo(f"Open this address and agree:\n\n  {begun.url}\n", err=True)
        if not (paste or no_browser):
            webbrowser.open(begun.url)
        code = _pasted(begun) if paste else _heard(begun, port)
        credential.save()
        granted = oauth.finish(settings.OAUTH, credential, code, begun, redirect_url)
    except oauth.CannotSignIn as error:
        raise click.ClickException(str(error)) from None
    click.echo(
        f"Signed in: {credential.name} of {credential.domain.host}, good until {granted.expires_at:%Y-%m-%d %H:%M} UTC."
    )


def _credential(name: str | None, host: str | None, owner: str | None) -> "Credential":
    from uuid import UUID

    from django.core.exceptions import ValidationError

    from accounts.models import Credential, Domain

    rows = Credential.objects.select_related("domain").filter(kind=Credential.Kind.OAUTH)
    if host:
        rows = rows.filter(domain__host=host)
    if name:
        try:
            rows = rows.filter(id=UUID(name))
        except ValueError:
            rows = rows.filter(name=name)
    found: list[Credential] = list(rows[:2])
    if len(found) == 1:
        return found[0]
    if found:
        raise click.ClickException("There are several such credentials: name one, or its id.")
    domain = Domain.objects.filter(host=host).first() if host else None
    if not (domain and owner):
        raise click.ClickException("There is no such OAuth credential. To make one, name its --domain and --owner.")
    made = Credential(domain=domain, name=name or "signed in", owner=owner, kind=Credential.Kind.OAUTH)
    try:
        made.full_clean()
    except ValidationError as error:
        raise click.ClickException(" ".join(error.messages)) from None
    return made


def _pasted(begun: "Begun") -> str:
    from accounts.oauth.login import code_in

    return code_in(
        click.prompt("The address it ended at, or the code that it showed", err=True, hide_input=True), begun.state
    )


def _heard(begun: "Begun", port: int) -> str:
    """The code, from the browser that comes to this machine. What others ask for is not ours."""
    from accounts.oauth.login import CannotSignIn, code_of

    found: list[str | CannotSignIn] = []

    def hear(query: str) -> bytes:
        try:
            found.append(code_of(query, begun.state))
        except CannotSignIn as error:
            if "another sign-in" not in str(error):
                found.append(error)
            return PAGE % str(error).encode()
        return PAGE % b"You are signed in."

    try:
        listener = HTTPServer(("127.0.0.1", port), _handler(hear))
    except OSError as error:
        raise click.ClickException(f"Cannot listen on port {port}: {error.strerror}. Choose another --port.") from None
    deadline = time.monotonic() + WAIT_SECONDS
    with listener:
        while not found and time.monotonic() < deadline:
            listener.timeout = max(0.1, deadline - time.monotonic())
            listener.handle_request()
    if not found:
        raise click.ClickException(f"Nobody has signed in within {WAIT_SECONDS // 60} minutes.")
    if isinstance(found[0], CannotSignIn):
        raise found[0]
    return found[0]


def _handler(hear: Callable[[str], bytes]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            page = hear(asked.query) if asked.path == "/callback" else b""
            self.send_response(200 if page else 404)
            self.send_header("content-type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None:
            """It would print the code."""

    return Handler
