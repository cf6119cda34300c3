"""Composes the answer to a prompt: the same prompt and script get the same words."""

import base64
import json
import random
import zlib
from dataclasses import dataclass

from bench.asgi import Json
from bench.standin import tools
from bench.standin.blocks import Block, Text, Thinking, ToolUse
from bench.standin.catalogue import resolve
from bench.standin.ids import Ids
from bench.standin.prompt import Prompt
from bench.standin.script import Script
from bench.standin.usage import InputTokens, tokens

SENTENCES = (
    "The stand-in answers in place of Claude, without a network and without a bill.",
    "A gateway is a door: what matters is what passes through it unchanged.",
    "Naïve buffering would hold these words back — a good proxy lets each one go at once.",
    "Tides rise twice a day, and nobody has to poll for them.",
    "Every byte you read here was counted before it left.",
    "Short answers are kind; long answers are sometimes necessary.",
    "In the harbour the pilots know each boat by the sound of its engine.",
    "If the connection broke now, the record would still say how far we came.",
    "Three plus four is seven, and 🌊 is four bytes of UTF-8.",
    'Quotes like "these" and backslashes like \\ survive the trip.',
)
THOUGHTS = "The user wants an answer. I should keep it short, stay truthful, and say what I know."


@dataclass(frozen=True, slots=True)
class Answer:
    id: str
    model: str
    blocks: tuple[Block, ...]
    stop_reason: str
    input_tokens: InputTokens
    beside: Json
    """Fields at the top level of the message, or of message_delta in a stream."""

    @property
    def thinking_tokens(self) -> int:
        return sum(_tokens(block) for block in self.blocks if isinstance(block, Thinking))

    @property
    def output(self) -> Json:
        """The output's part of usage."""
        output: Json = {"output_tokens": sum(_tokens(block) for block in self.blocks)}
        if self.thinking_tokens:
            output["output_tokens_details"] = {"thinking_tokens": self.thinking_tokens}
        return output

    def envelope(self, output_tokens: int) -> Json:
        """The message before anything was said."""
        return {
            "model": self.model,
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "stop_details": None,
            "usage": self.input_tokens.usage(output_tokens),
        }

    def whole(self) -> Json:
        message = self.envelope(0)
        message["content"] = [block.whole() for block in self.blocks]
        message["stop_reason"] = self.stop_reason
        message["usage"] |= self.output
        return message | self.beside


def compose(prompt: Prompt, script: Script, input_tokens: InputTokens, ids: Ids) -> Answer:
    choice = random.Random(zlib.crc32(prompt.text.encode()))
    tool = tools.choose(prompt, script.tool)
    thinking = [_think(prompt.thinking, choice)] if prompt.thinking else []
    text, cut_short = _say(prompt, script, choice, spent=sum(map(_tokens, thinking)))
    calls = [ToolUse(ids.new("toolu_"), tool["name"], tools.invent_input(tool))] if tool else []
    return Answer(
        id=ids.new("msg_"),
        model=resolve(prompt.model),
        blocks=(*thinking, text, *calls),
        stop_reason="tool_use" if tool else "max_tokens" if cut_short else "end_turn",
        input_tokens=input_tokens,
        beside={"context_management": {"applied_edits": []}} if "context_management" in prompt.body else {},
    )


def _think(thinking: Json, choice: random.Random) -> Thinking:
    # What is omitted is only the text: the signature still carries the thoughts.
    text = "" if thinking.get("display") == "omitted" else THOUGHTS
    return Thinking(text, base64.b64encode(choice.randbytes(240)).decode())


def _say(prompt: Prompt, script: Script, choice: random.Random, spent: int) -> tuple[Text, bool]:
    """The text block, and whether max_tokens cut it short. A scripted size wins over max_tokens."""
    if script.bytes is not None:
        text = " ".join(SENTENCES[:2]) + " "
        text = (text * (script.bytes // len(text) + 1))[: script.bytes]
        return Text(text, script.deltas or max(1, len(text) // 24)), False
    text = " ".join(choice.sample(SENTENCES, 3))
    if script.deltas is not None:
        while len(text) < script.deltas:
            text += " " + choice.choice(SENTENCES)
        return Text(text, script.deltas), False
    room = 4 * max(prompt.max_tokens - spent, 1)
    said = text.encode()[:room].decode(errors="ignore")
    return Text(said, max(1, len(said) // 16)), len(said) < len(text)


def _tokens(block: Block) -> int:
    match block:
        case Text(text=text):
            return tokens(len(text.encode()))
        case Thinking():
            return tokens(len(THOUGHTS))
        case ToolUse(name=name, input=value):
            return tokens(len(name) + len(json.dumps(value)))
