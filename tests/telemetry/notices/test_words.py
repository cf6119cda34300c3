"""What Slack is shown of bodies; no Slack, no database."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.notices.words import (
    MESSAGE_MAX_CHARACTERS,
    TRUNCATED,
    WORD_JOINER,
    Said,
    answer,
    escaped,
    said,
    shortened,
    user_text,
)


def request(*messages: Any) -> bytes:
    listed = [{"role": role, "content": content} for role, content in messages]
    return json.dumps({"model": "claude-haiku-4-5", "messages": listed}).encode()


def text(*parts: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": part} for part in parts]


REMINDER = "<system-reminder>Today is Monday.</system-reminder>"


@pytest.mark.parametrize(
    ("messages", "found"),
    [
        ([("user", "Hello.")], "Hello."),
        ([("user", text("Two", "blocks."))], "Two\nblocks."),
        ([("user", "Old."), ("assistant", "Yes?"), ("user", "New.")], "New."),
        ([("user", "Said."), ("assistant", "Hm."), ("user", REMINDER)], "Said."),
        ([("user", text(REMINDER, "Said beside it."))], "Said beside it."),
        ([("user", "Said."), ("user", [{"type": "tool_result", "tool_use_id": "t", "content": "out"}])], "Said."),
        ([("assistant", "Alone.")], ""),
        ([], ""),
    ],
)
def test_the_newest_text_that_the_user_wrote(messages: list[Any], found: str) -> None:
    assert user_text(request(*messages)) == found


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b"{", b'{"messages": 3}', b'{"messages": [1, {"role": "user"}]}'])
def test_what_is_no_conversation_has_no_words(body: bytes) -> None:
    assert user_text(body) == ""
    assert answer(body) == ("", ())


def test_a_text_is_shown_with_twenty_lines() -> None:
    assert shortened("\n".join("x" * 20)) == "\n".join("x" * 20)
    assert shortened("\n".join("x" * 21)) == "\n".join([*"x" * 20, TRUNCATED])


@pytest.mark.parametrize(
    ("name", "given", "line"),
    [
        ("Read", {"file_path": "/home/ada/app/main.py"}, "🔧 Read - app/main.py"),
        ("Read", {"file_path": "main.py", "offset": 10, "limit": 5}, "🔧 Read - main.py (lines 10-14)"),
        ("Read", {"file_path": "C:\\app\\main.py", "limit": 5}, "🔧 Read - app/main.py (5 lines)"),
        ("Write", {"file_path": "/a/b/c.txt", "content": "one\ntwo\n"}, "🔧 Write - b/c.txt (2 lines)"),
        ("Edit", {"file_path": "/a/b.py", "replace_all": True}, "🔧 Edit - a/b.py (all occurrences)"),
        ("Edit", {"file_path": "/a/b.py", "replace_all": False}, "🔧 Edit - a/b.py"),
        ("MultiEdit", {"file_path": "/a/b.py", "edits": [{}, {}]}, "🔧 MultiEdit - a/b.py (2 edits)"),
        ("NotebookEdit", {"notebook_path": "/a/n.ipynb", "edits": [{}]}, "🔧 NotebookEdit - a/n.ipynb (1 edits)"),
        (
            "TodoWrite",
            {
                "todos": [
                    {"status": "pending"},
                    {"status": "in_progress"},
                    {"status": "completed"},
                    {"status": "pending"},
                ]
            },
            "🔧 TodoWrite - 4 todos (2 pending, 1 in progress, 1 completed)",
        ),
        ("Bash", {"command": "ls"}, '🔧 Bash - {"command": "ls"}'),
        ("Bash", {"command": "x" * 200}, f'🔧 Bash - {{"command": "{"x" * 87}…'),
        ("Read", {"file_path": 7}, '🔧 Read - {"file_path": 7}'),
        ("Ping", {}, "🔧 Ping"),
    ],
)
def test_a_line_for_each_tool(name: str, given: dict[str, Any], line: str) -> None:
    message = {"content": [{"type": "tool_use", "id": "t", "name": name, "input": given}]}
    assert answer(json.dumps(message).encode()) == ("", (line,))


STREAM = b"""event: message_start
data: {"type":"message_start","message":{"id":"m","type":"message","role":"assistant","content":[],"usage":{}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Good day."}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

"""


def test_a_stream_and_a_plain_answer_say_the_same() -> None:
    plain = json.dumps({"content": text("Good day.")}).encode()
    assert answer(STREAM) == answer(plain) == ("Good day.", ())


def test_a_message_shows_the_user_where_asked() -> None:
    one = Said("Hi", "Hello", ("🔧 Ping",))
    assert one.text(with_user=True) == "👤 User: Hi\n\n🤖 Claude: Hello\n🔧 Ping"
    assert one.text(with_user=False) == "🤖 Claude: Hello\n🔧 Ping"
    assert Said("Hi", "", ("🔧 Ping", "🔧 Pong")).text(with_user=True) == "🔧 Ping\n🔧 Pong"


def test_without_a_text_of_the_user_nothing_is_said() -> None:
    assert said(request(("user", REMINDER)), STREAM) is None
    assert said(request(("user", "Hi")), b'{"content": []}') is None


MENTIONS = ["<!channel>", "<!here|here>", "<@U012ABC>", "<!subteam^S1>", "@channel", "@here", "@everyone", "<#C1>"]


@pytest.mark.parametrize("mention", MENTIONS)
def test_nobody_is_mentioned(mention: str) -> None:
    shown = escaped(f"see {mention} now")
    assert "<" not in shown
    assert mention not in shown
    assert mention.lstrip("<").rstrip(">") not in shown or "@" not in mention


def test_people_see_what_was_written() -> None:
    assert escaped("a < b && c > d") == "a &lt; b &amp;&amp; c &gt; d"
    assert escaped("a@b.example").replace(WORD_JOINER, "") == "a@b.example"


@given(st.text(alphabet=st.sampled_from("ab<>&@\0\ud800é\n"), max_size=40), st.integers(20, 50))
def test_whatever_is_written_is_harmless_and_short(written: str, limit: int) -> None:
    shown = escaped(written, limit)
    shown.encode()
    plain = shown.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").replace(WORD_JOINER, "")
    assert len(plain) <= limit
    assert not set("<>\0") & set(shown)
    assert "@a" not in shown


def test_a_long_message_is_cut() -> None:
    assert len(escaped("x" * 5000)) == MESSAGE_MAX_CHARACTERS
    assert escaped("x" * 5000).endswith(TRUNCATED)
