"""What every vendor is asked for. Each passes, or is refused for what the request names; nothing else.

A feature returns what there is to say beyond a pass: what was left out and named, what no vendor tells.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass

from tests.conformance.desk import Desk, Refused, Wrong, need
from tests.conformance.vendors import Json

DOT = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
    "rkJggg=="
)
WEATHER: Json = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
FORECAST: Json = {
    "type": "json_schema",
    "json_schema": {
        "name": "forecast",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city", "days"],
            "additionalProperties": False,
        },
    },
}


def plain(desk: Desk) -> None:
    answer = desk.ask({"chunks": 5})
    need(answer.content == "w0 w1 w2 w3 w4 " and answer.finish_reason == "stop", f"got {answer}")


def stream(desk: Desk) -> None:
    answer = desk.stream({"chunks": 5, "split": "random:7"})
    need(answer.content == "w0 w1 w2 w3 w4 " and answer.finish_reason == "stop", f"got {answer}")


def vision(desk: Desk) -> None:
    picture = {"type": "image_url", "image_url": {"url": DOT}}
    content = [picture, {"type": "text", "text": json.dumps({"chunks": 3})}]
    for answer in desk.both({}, messages=[{"role": "user", "content": content}]):
        need(answer.content == "w0 w1 w2 ", f"got {answer}")
    need("image" in json.dumps(desk.double.records()[-1]["request"]), "no image reached the vendor")


def tools(desk: Desk) -> None:
    tell = desk.vendor.manner.tools([("get_weather", {"city": "Oslo"})])
    for answer in desk.both(tell, tools=[WEATHER]):
        [call] = answer.message["tool_calls"]
        need(_called(call) == ("get_weather", {"city": "Oslo"}), f"called {call}")
        need(answer.finish_reason == "tool_calls", f"finished with {answer.finish_reason}")


def parallel_tools(desk: Desk) -> None:
    wanted = [("get_weather", {"city": city}) for city in ("Oslo", "Rome")]
    for answer in desk.both(desk.vendor.manner.tools(wanted), tools=[WEATHER]):
        calls = answer.message["tool_calls"]
        need([_called(call) for call in calls] == wanted, f"called {calls}")
        need(len({call["id"] for call in calls}) == len(calls), "two calls have one id")


def tool_loop(desk: Desk) -> None:
    """With a client that sends back what OpenAI's protocol knows, and nothing else of the answer."""
    wanted = desk.vendor.manner.tools([("get_weather", {"city": "Oslo"})])
    asked = desk.request({**wanted, **desk.vendor.manner.thoughtful})["messages"]
    for ask in (desk.ask, desk.stream):
        common: Json = {"tools": [WEATHER], **_thinking(desk)}
        [call] = ask({}, messages=asked, **common).message["tool_calls"]
        said = {"role": "assistant", "content": None, "tool_calls": [call]}
        result = {"role": "tool", "tool_call_id": call["id"], "content": "rain"}
        final = ask({}, messages=[*asked, said, result], **common)
        need(final.finish_reason == "stop" and final.content, f"the loop ended with {final}")


def json_object(desk: Desk) -> None:
    instruction = {"role": "system", "content": "Answer in JSON."}
    messages = [instruction, {"role": "user", "content": "A greeting as JSON, please."}]
    for answer in desk.both({}, messages=messages, response_format={"type": "json_object"}):
        need(isinstance(json.loads(answer.content), dict), f"got {answer}")
        need(answer.finish_reason == "stop" and not answer.message.get("tool_calls"), f"got {answer}")


def json_schema(desk: Desk) -> None:
    for answer in desk.both({}, response_format=FORECAST):
        given = json.loads(answer.content)
        need(set(given) == {"city", "days"} and type(given["days"]) is int, f"got {given}")
        need(answer.finish_reason == "stop" and not answer.message.get("tool_calls"), f"got {answer}")


def stop(desk: Desk) -> None:
    for answer in desk.both({"chunks": 9}, stop=["w3"]):
        need(answer.content == "w0 w1 w2 " and answer.finish_reason == "stop", f"got {answer}")


def length(desk: Desk) -> None:
    for answer in desk.both({"chunks": 300}, max_tokens=60):
        need(answer.finish_reason == "length" and answer.content, f"got {answer}")


def several_choices(desk: Desk) -> None:
    for answer in desk.both({"chunks": 3}, n=2):
        need(answer.choices == 2, f"{answer.choices} choices")


def logprobs(desk: Desk) -> None:
    for answer in desk.both({"chunks": 3}, logprobs=True, top_logprobs=2):
        need(len(answer.logprobs) == 3 and len(answer.logprobs[0]["top_logprobs"]) == 2, f"got {answer}")


def filtered(desk: Desk) -> None:
    for answer in desk.both({"chunks": 3, **desk.vendor.manner.filtered}):
        need(answer.finish_reason == "content_filter", f"finished with {answer.finish_reason}")


def cache(desk: Desk) -> str | None:
    told = 40 if desk.vendor.reports_cache else 0
    for answer in desk.both({"chunks": 3, **desk.vendor.manner.cached}):
        need(answer.usage["prompt_tokens_details"]["cached_tokens"] == told, f"got {answer.usage}")
        need(answer.usage["prompt_tokens"] == 100, f"got {answer.usage}")
    return None if told else "pass: the host tells of none"


def reasoning(desk: Desk) -> str | None:
    tell = {"chunks": 8, **desk.vendor.manner.thoughtful}
    for answer in desk.both(tell, **_thinking(desk)):
        told = answer.usage["completion_tokens_details"]["reasoning_tokens"]
        if "reasoning_effort" in answer.dropped:
            need(told == 0, f"got {answer.usage}")
            return "left out: `reasoning_effort`"
        need(0 < told < answer.usage["completion_tokens"], f"got {answer.usage}")
    return None


def error_before(desk: Desk) -> None:
    before = desk.customer.balance().posted
    for ask in (desk.ask, desk.stream):
        error = _refused(lambda ask=ask: ask(desk.vendor.manner.broken))  # type: ignore[misc]
        need(error.status in {502, 503} and error.error["code"], f"got {error}")
        need("double" not in error.error["message"].lower(), "the vendor's own words were shown")
    need(desk.customer.balance().posted == before, "an error was charged")


def error_inside(desk: Desk) -> None:
    error = _refused(lambda: desk.stream({"chunks": 9, "error_in_stream_after": 3}))
    need(error.status == 200 and error.error["code"], f"got {error}")
    need(_last_ending(desk) == "vendor_error", "not kept as the vendor's error")


def client_gone(desk: Desk) -> None:
    request = desk.request({"chunks": 40, "delay_ms": 25}, stream=True)
    with desk.client.stream("POST", desk.url, json=request) as response:
        request_id = response.headers["x-request-id"]
        next(response.iter_lines())
    record = desk.customer.wait_for_record(request_id, 15)
    need(record["ending"] == "client_gone" and record["charge_nano"] > 0, f"settled as {record['ending']}")


def _thinking(desk: Desk) -> Json:
    model = desk.vendor.thinker or desk.vendor.model
    return {"model": model, "reasoning_effort": "low", "max_tokens": 3_000}


def _called(call: Json) -> tuple[str, Json]:
    return call["function"]["name"], json.loads(call["function"]["arguments"])


def _refused(attempt: Callable[[], object]) -> Refused:
    try:
        answer = attempt()
    except Refused as error:
        return error
    raise Wrong(f"no error came, but {answer}")


def _last_ending(desk: Desk) -> str:
    [row] = desk.customer.installation.query(
        "SELECT ending FROM billing_usagerecord WHERE organization_id = %s ORDER BY ended_at DESC LIMIT 1",
        desk.customer.organization,
    )
    return str(row["ending"])


@dataclass(frozen=True)
class Feature:
    """`params`: what a refusal may name; without any the feature is never refused."""

    name: str
    run: Callable[[Desk], str | None]
    params: tuple[str, ...] = ()


FEATURES = (
    Feature("plain answer", plain),
    Feature("stream", stream),
    Feature("vision", vision, ("messages[0].content[0]",)),
    Feature("tools", tools, ("tools",)),
    Feature("parallel tools", parallel_tools, ("tools", "parallel_tool_calls")),
    Feature("tool loop with reasoning", tool_loop, ("tools", "reasoning_effort")),
    Feature("json_object", json_object, ("response_format",)),
    Feature("json_schema", json_schema, ("response_format",)),
    Feature("stop", stop, ("stop",)),
    Feature("length", length),
    Feature("n", several_choices, ("n",)),
    Feature("logprobs", logprobs, ("logprobs", "top_logprobs")),
    Feature("refusal or filter", filtered),
    Feature("usage with cache", cache),
    Feature("usage with reasoning", reasoning, ("reasoning_effort",)),
    Feature("error before a stream", error_before),
    Feature("error inside a stream", error_inside),
    Feature("client gone", client_gone),
)
