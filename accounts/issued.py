"""What is shown of a new client key, once: its secret, and lines to paste."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from accounts.models import ClientKey

MODEL = "claude-haiku-4-5"


@dataclass(frozen=True, slots=True)
class Line:
    title: str
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Issued:
    key: ClientKey
    secret: str = field(repr=False)
    lines: Sequence[Line] = field(repr=False)


def show_once(
    request: HttpRequest, keys: Sequence[tuple[ClientKey, str]], context: dict[str, object], back: str
) -> HttpResponse:
    """The secrets are in this answer and nowhere else: not in a session, a message or a cookie."""
    base_url = request.build_absolute_uri("/").rstrip("/")
    issued = [Issued(key, secret, lines(base_url, secret)) for key, secret in keys]
    response = render(
        request, "accounts/issued.html", context | {"issued": issued, "back": back, "title": "Copy it now"}
    )
    response["Cache-Control"] = "no-store"
    return response


def lines(base_url: str, secret: str) -> list[Line]:
    """To paste into a terminal or a program, as they are."""
    body = f'{{"model":"{MODEL}","max_tokens":100,"messages":[{{"role":"user","content":"Hello"}}]}}'
    python = (
        "import anthropic\n\n"
        f'client = anthropic.Anthropic(base_url="{base_url}", api_key="{secret}")\n'
        f'answer = client.messages.create(model="{MODEL}", max_tokens=100, '
        'messages=[{"role": "user", "content": "Hello"}])\nprint(answer.content[0].text)'
    )
    typescript = (
        'import Anthropic from "@anthropic-ai/sdk";\n\n'
        f'const client = new Anthropic({{ baseURL: "{base_url}", apiKey: "{secret}" }});\n'
        f'const answer = await client.messages.create({{ model: "{MODEL}", max_tokens: 100, '
        'messages: [{ role: "user", content: "Hello" }] });\nconsole.log(answer.content);'
    )
    return [
        Line(
            "curl",
            f"curl {base_url}/v1/messages -H 'x-api-key: {secret}' -H 'anthropic-version: 2023-06-01' "
            f"-H 'content-type: application/json' -d '{body}'",
        ),
        Line("Claude Code", f"ANTHROPIC_BASE_URL={base_url} ANTHROPIC_AUTH_TOKEN={secret} claude -p Hello"),
        Line("Python", python),
        Line("TypeScript", typescript),
    ]
