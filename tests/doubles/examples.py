"""What a double says where a schema, or a stop sequence, decides it."""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson

PIECE = 6  # characters


def example(schema: Any) -> Any:
    """Something that fulfils a plain schema."""
    if not isinstance(schema, dict):
        return None
    for name in ("const", "default"):
        if name in schema:
            return schema[name]
    if schema.get("enum"):
        return schema["enum"][0]
    if schema.get("anyOf"):
        return example(schema["anyOf"][0])
    kind = schema.get("type")
    kind = str(kind[0] if isinstance(kind, list) else kind).lower()
    if kind == "object":
        return {name: example(inner) for name, inner in schema.get("properties", {}).items()}
    plain = {"string": "w0", "integer": 1, "number": 1.5, "boolean": True}
    return [example(schema.get("items"))] if kind == "array" else plain.get(kind)


def example_in_words(instructions: str) -> Any:
    """What a model writes that is told in words to answer in JSON; None: it is not."""
    _, states_one, schema = instructions.partition("JSON Schema:\n")
    if states_one:
        return example(orjson.loads(schema.partition("\n")[0]))
    return {"answer": "w0"} if "JSON" in instructions else None


def pieces_of(text: str) -> list[str]:
    return [text[at : at + PIECE] for at in range(0, len(text), PIECE)]


def stop_at(pieces: Sequence[str], stops: Iterable[str]) -> tuple[list[str], str | None]:
    """The pieces up to where the first stop sequence would begin, and which it was; None: none of them."""
    text = "".join(pieces)
    found = [(text.index(stop), stop) for stop in stops if stop in text]
    if not found:
        return list(pieces), None
    end, stop = min(found)
    kept: list[str] = []
    for piece in pieces:
        kept += [piece[:end]] if end > 0 else []
        end -= len(piece)
    return kept, stop
