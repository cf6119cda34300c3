"""Decides whether the answer calls a tool, and invents its input."""

from typing import Any

from bench.asgi import Json
from bench.standin.errors import ApiError
from bench.standin.prompt import Prompt

# Harmless where a real client carries the call out.
EXAMPLES = {
    "command": "echo hello from the stand-in",
    "file_path": "README.md",
    "path": "README.md",
    "pattern": "*.md",
    "url": "https://example.com/",
}


def choose(prompt: Prompt, directive: str) -> Json | None:
    """The tool to call: the one that `tool=` or tool_choice asks for, or the only one there is.

    An agent such as Claude Code brings a whole box of tools with every request and means none in particular:
    with several tools and nobody asking for one, the answer is plain text. So is the answer to a tool's result.
    """
    tools = prompt.client_tools
    choice = prompt.tool_choice["type"]
    if not tools or prompt.answers_tool or choice == "none":
        return None
    if choice == "tool":
        return _named(tools, prompt.tool_choice["name"])
    if directive not in ("", "1"):
        return _named(tools, directive)
    if directive or choice == "any" or len(tools) == 1:
        return tools[0]
    return None


def _named(tools: list[Json], name: str) -> Json:
    for tool in tools:
        if tool["name"] == name:
            return tool
    raise ApiError(400, f"tool_choice: Tool '{name}' not found in provided tools")


def invent_input(tool: Json) -> Json:
    """An input with every required property of the tool's schema."""
    return _invent_object(tool["input_schema"])


def _invent_object(schema: Json) -> Json:
    properties = schema.get("properties", {})
    return {name: _invent(name, properties.get(name, {})) for name in schema.get("required", [])}


def _invent(name: str, schema: Json) -> Any:
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    for alternative in schema.get("anyOf", []) or schema.get("oneOf", []):
        return _invent(name, alternative)
    kind = schema.get("type", "string")
    match kind[0] if isinstance(kind, list) else kind:
        case "object":
            return _invent_object(schema)
        case "array":
            return [_invent(name, schema.get("items", {}))] * schema.get("minItems", 1)
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return EXAMPLES.get(name, f"example {name}")
