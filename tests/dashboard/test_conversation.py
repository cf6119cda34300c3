"""A conversation is read whatever its shape, and cut where a page would suffer."""

import base64
from typing import Any

import pytest

from dashboard import conversation as conversations
from dashboard.conversation import TURNS_MAX, Block, conversation
from dashboard.markdown import html
from tests.dashboard.pages.hostile import ALL, CORPUS, FORBIDDEN

PNG = base64.b64encode(b"\x89PNG fake").decode()


def turns(*contents: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content} for content in contents]}


def blocks(content: Any) -> tuple[Block, ...]:
    return conversation(turns(content), None).turns[0].blocks


def test_request_and_answer_are_one_conversation() -> None:
    asked = turns("Hello") | {"system": "Be kind.", "tools": [{"name": "read_file"}, "no tool"]}
    found = conversation(asked, {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "Hi"}]})
    assert [(turn.role, turn.blocks[0].text) for turn in found.turns] == [("user", "Hello"), ("answer", "Hi")]
    assert (found.system[0].text, found.tools) == ("Be kind.", ("read_file",))


def test_each_kind_of_block_is_known() -> None:
    found = blocks(
        [
            {"type": "text", "text": "a"},
            {"type": "thinking", "thinking": "hm", "signature": "x"},
            {"type": "redacted_thinking", "data": "secret"},
            {"type": "tool_use", "id": "t1", "name": "read", "input": {"path": "/etc"}},
            {"type": "server_tool_use", "id": "t2", "name": "web_search", "input": {}},
            {"type": "tool_result", "tool_use_id": "t1", "is_error": True, "content": [{"type": "text", "text": "no"}]},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
            {"type": "something_new", "value": 1},
        ]
    )
    assert [block.kind for block in found] == [
        *("text", "thinking", "thinking", "tool_use", "tool_use", "tool_result", "image", "other"),
    ]
    assert (found[3].title, '"path": "/etc"' in found[3].text) == ("read", True)
    assert (found[5].is_error, found[5].blocks[0].text) == (True, "no")
    assert found[6].image == f"data:image/png;base64,{PNG}"
    assert "secret" not in str(found[2])


@pytest.mark.parametrize(
    "source",
    [
        {"type": "base64", "media_type": "image/svg+xml", "data": PNG},
        {"type": "base64", "media_type": "text/html", "data": PNG},
        {"type": "base64", "media_type": "image/png", "data": '" onerror="x'},
        {"type": "url", "url": "https://evil.example.com/x.png"},
        {"type": "base64", "media_type": ["image/png"], "data": PNG} | {"media_type": "x"},
        None,
        [],
    ],
)
def test_only_images_that_we_know_are_shown(source: Any) -> None:
    (block,) = blocks([{"type": "image", "source": source}])
    assert (block.kind, block.image) == ("other", "")


@pytest.mark.parametrize(
    "request_body",
    [
        None,
        [],
        "x",
        3,
        {},
        {"messages": None},
        {"messages": "x"},
        {"messages": [None, 3, {}]},
        {"messages": [{"role": 3}]},
    ],
)
def test_any_shape_is_read(request_body: Any) -> None:
    answers: tuple[Any, ...] = (None, [], "x", {"type": "error"}, {"type": "message", "content": None})
    for answer in answers:
        conversation(request_body, answer)


def test_odd_contents_are_shown_as_they_are() -> None:
    assert [block.kind for block in blocks([None, 3, ["x"], {"type": None}, {"text": "x"}])] == ["other"] * 5
    assert blocks(7)[0].text == "7"
    deep: Any = "x"
    for _ in range(3000):
        deep = [deep]
    assert "nested too deeply" in blocks([{"type": "tool_use", "name": "x", "input": deep}])[0].text


def test_long_ones_are_cut_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = blocks("x" * 50_000)
    assert (len(block.text), block.left_out, block.is_long) == (20_000, 30_000, True)
    found = conversation(turns(*["x"] * (TURNS_MAX + 7)), None)
    assert (len(found.turns), found.earlier) == (TURNS_MAX, 7)
    many = conversation(turns([{"type": "text", "text": "x"}] * 500), None).turns[0]
    assert (len(many.blocks), many.left_out) == (conversations.BLOCKS_MAX, 1)
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 2_000_004}}
    assert (blocks([image])[0].image, blocks([image])[0].left_out) == ("", 2_000_004)


def test_the_newest_turns_get_the_room() -> None:
    found = conversation(turns(*["x" * 20_000] * 30), None)
    assert [bool(turn.blocks[0].text) for turn in found.turns] == [False] * 15 + [True] * 15


@pytest.mark.parametrize("text", [*CORPUS, ALL])
def test_markdown_cannot_act(text: str) -> None:
    shown = html(text)
    assert not [each for each in FORBIDDEN if each in shown]


def test_markdown_is_rendered() -> None:
    shown = html("# Title\n\n**bold** `code`\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n[x](https://example.com)")
    for part in ("<h1>Title", "<strong>bold", "<code>code", "<td>1", 'href="https://example.com" rel="noopener'):
        assert part in shown
