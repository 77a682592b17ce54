"""What every vendor is asked for. Each passes, or is refused for what the request names; nothing else.

A feature returns what there is to say beyond a pass: what was left out and named, what is not told.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass

from tests.conformance import endings
from tests.conformance.answers import Answer, need
from tests.conformance.catalogue import Abilities, abilities_of, has_cache_rate
from tests.conformance.desk import Desk
from tests.conformance.vendors import Json

DOT = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
    "rkJggg=="
)
ELSEWHERE = "https://pictures.example/dot.png"
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
    """By address as well, where it is the vendor who fetches it: we fetch nothing from this machine."""
    fetches = "https" in abilities_of(desk.vendor.model).traits.image_url_schemes
    for url in (DOT, ELSEWHERE) if fetches else (DOT,):
        picture = {"type": "image_url", "image_url": {"url": url}}
        content = [picture, {"type": "text", "text": json.dumps({"chunks": 3})}]
        for answer in desk.both({}, messages=[{"role": "user", "content": content}]):
            need(answer.content == "w0 w1 w2 ", f"got {answer}")
            need(desk.vendor.manner.pictures(answer.received) == [url], "not this picture reached the vendor")


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


def tool_loop(desk: Desk) -> str | None:
    return _left_out([_loop(desk, ask) for ask in (desk.ask, desk.stream)])


def _loop(desk: Desk, ask: Callable[..., Answer]) -> Answer:
    """With a client that sends back what OpenAI's protocol knows, and nothing else of the answer."""
    manner = desk.vendor.manner
    tell = {**manner.tools([("get_weather", {"city": "Oslo"})]), **manner.thoughtful}
    asked, common = desk.request(tell)["messages"], {"tools": [WEATHER], **_thinking(desk)}
    first = ask({}, messages=asked, **common)
    [call] = first.message["tool_calls"]
    said = {"role": "assistant", "content": None, "tool_calls": [call_as_known(call)]}
    result = {"role": "tool", "tool_call_id": call["id"], "content": "rain"}
    final = ask({}, messages=[*asked, said, result], **common)
    need(final.finish_reason == "stop" and final.content, f"the loop ended with {final}")
    if not final.dropped:
        need(first.reasoned and manner.thinks(final.received), "the model did not think")
        wanted = manner.wanted_thoughts(final.received, desk.vendor.model)
        back = manner.thoughts(final.received)
        need(back == wanted, f"of its thoughts the vendor got back {back}, not {wanted}")
    return final


def call_as_known(call: Json) -> Json:
    return {name: call[name] for name in ("id", "type", "function")}


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
        got = [(choice["message"]["content"], choice["finish_reason"]) for choice in answer.choices]
        need(got == [("w0 w1 w2 ", "stop")] * 2, f"got {got}")


def logprobs(desk: Desk) -> None:
    for answer in desk.both({"chunks": 3}, logprobs=True, top_logprobs=2):
        told = answer.choices[0]["logprobs"]["content"]
        need([one["token"] for one in told] == ["w0 ", "w1 ", "w2 "], f"got {told}")
        need(all(len(one["top_logprobs"]) == 2 for one in told), f"got {told}")


def cache(desk: Desk) -> str | None:
    """Not told only where the catalogue has no price for it either."""
    is_told = has_cache_rate(desk.vendor.model)
    for answer in desk.both({"chunks": 3, **desk.vendor.manner.cached}):
        need(answer.usage["prompt_tokens"] == 100, f"got {answer.usage}")
        need(answer.cached == (40 if is_told else 0), f"got {answer.usage}")
    return None if is_told else "not told"


def reasoning(desk: Desk) -> str | None:
    answers = desk.both({"chunks": 8, **desk.vendor.manner.thoughtful}, **_thinking(desk))
    for answer in answers:
        if answer.dropped:
            need(answer.reasoned == 0, f"got {answer.usage}")
        else:
            need(0 < answer.reasoned < answer.usage["completion_tokens"], f"got {answer.usage}")
            need(desk.vendor.manner.thinks(answer.received), "the vendor was not asked for it")
    return _left_out(answers)


def _thinking(desk: Desk) -> Json:
    model = desk.vendor.thinker or desk.vendor.model
    return {"model": model, "reasoning_effort": "low", "max_tokens": 3_000}


def _left_out(answers: list[Answer]) -> str | None:
    """The desk has made sure that it was the right thing."""
    names = {answer.dropped for answer in answers}
    need(len(names) == 1, f"left out once this, once that: {names}")
    [name] = names
    return f"left out: `{name}`" if name else None


def _called(call: Json) -> tuple[str, Json]:
    return call["function"]["name"], json.loads(call["function"]["arguments"])


@dataclass(frozen=True)
class Feature:
    """`params`: what a refusal may name, if the model `lacks` the feature; else it is never refused."""

    name: str
    run: Callable[[Desk], str | None]
    params: tuple[str, ...] = ()
    lacks: Callable[[Abilities], bool] = lambda _able: False


def _without(word: str) -> Callable[[Abilities], bool]:
    """By the catalogue's own word."""
    return lambda able: word not in able.words


FEATURES = (
    Feature("plain answer", plain),
    Feature("stream", stream),
    Feature("vision", vision, ("messages[0].content[0]",), _without("vision")),
    Feature("tools", tools, ("tools",), _without("tools")),
    Feature("parallel tools", parallel_tools, ("tools",), _without("tools")),
    Feature("tool loop with reasoning", tool_loop, ("tools",), _without("tools")),
    Feature("json_object", json_object, ("response_format",), _without("json_object")),
    Feature("json_schema", json_schema, ("response_format",), _without("json_schema")),
    Feature("stop", stop, ("stop",), lambda able: able.traits.stop_max == 0),
    Feature("length", length),
    Feature("n", several_choices, ("n",), lambda able: able.traits.n_max == 1),
    Feature("logprobs", logprobs, ("logprobs",), lambda able: not able.traits.logprobs),
    Feature("refusal or filter", endings.filtered),
    Feature("usage with cache", cache),
    Feature("usage with reasoning", reasoning),
    Feature("error before a stream", endings.error_before),
    Feature("error inside a stream", endings.error_inside),
    Feature("client gone", endings.client_gone),
    Feature("usage export", endings.export),
)
