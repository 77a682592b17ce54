"""Answers that do not end well: withheld, failed, left by the customer; and what all of them cost in the end.

What each costs is the table of endings in `platform/docs/request.md`.
"""

from collections.abc import Callable

from tests.conformance.answers import Answer, Refused, Wrong, need
from tests.conformance.catalogue import CLASSES
from tests.conformance.desk import SECONDS, Desk, billed
from tests.installation import request_hex

COMPARED = ("model", "channel", "upstream_model", "charge_nano", "uncollected_nano", "cost_nano",
            "usage_source", "ending", *(f"{name}_tokens" for name in CLASSES))  # fmt: skip
BYTES_PER_TOKEN = 4


def filtered(desk: Desk) -> None:
    """The answer withheld; then, as far as the vendor has it, a refusal in words, and a prompt blocked."""
    manner = desk.vendor.manner
    for answer in desk.both({"chunks": 3, **manner.filtered}):
        need(answer.finish_reason == "content_filter", f"finished with {answer.finish_reason}")
    for tell in manner.refusing:
        for answer in desk.both(tell):
            need(answer.message["refusal"] and not answer.content, f"got {answer}")
    if manner.blocked:
        for error in _errors(desk, manner.blocked):
            need((error.status, error.error["code"]) == (400, "content_filter"), f"got {error}")
            desk.need_no_bill(error)


def error_before(desk: Desk) -> None:
    before = desk.customer.balance().posted
    for error in _errors(desk, desk.vendor.manner.broken):
        need(error.status in {502, 503} and error.error["code"], f"got {error}")
        need("double" not in error.error["message"].lower(), "the vendor's own words were shown")
        desk.need_no_bill(error)
    need(desk.customer.balance().posted == before, "an error was charged")


def error_inside(desk: Desk) -> None:
    """Before any output it costs nothing; after some, what was reported so far, else an estimate."""
    manner = desk.vendor.manner
    tell = {"chunks": 9, **manner.thoughtless}
    desk.need_no_bill(_refused(lambda: desk.stream({**tell, "error_in_stream_after": 0})))
    error = _refused(lambda: desk.stream({**tell, "error_in_stream_after": 3}))
    need(error.status == 200 and error.error["code"], f"got {error}")
    served = desk.double.records()[-1]
    prompt = manner.served(served)[0] if manner.counts_early else _estimate(error.sent)
    source = "reported" if manner.counts_early else "estimated"
    output = _estimate(len("w0 w1 w2 "))
    desk.bill(error.request_id, tokens=(prompt, output), source=source, ending="vendor_error")


def client_gone(desk: Desk) -> None:
    """The rest is read all the same, and charged as it was served."""
    seen, request = len(desk.double.records()), desk.request({"chunks": 40, "delay_ms": 10}, stream=True)
    with desk.client.stream("POST", desk.url, json=request) as response:
        request_id = response.headers["x-request-id"]
        next(response.iter_lines())
    served = desk.double.wait_for_records(seen + 1, SECONDS)[-1]
    need(served["served"], "the vendor was not heard out")
    tokens = desk.vendor.manner.served(served)
    desk.bill(request_id, tokens=tokens, ending="client_gone", seconds=SECONDS)


def export(desk: Desk) -> None:
    """It has all that was asked before, and nothing else, and the wallet has paid for that."""
    lines = {request_hex(line["request_id"]): line for line in desk.listed}
    need(set(desk.bills) == set(lines) - desk.earlier, "the list has other requests than were billed")
    for request, record in desk.bills.items():
        line = lines[request]
        differs = [name for name in COMPARED if line[name] != record[name]]
        need(not differs, f"listed with another {differs}: {line}")
        shown = line["prompt_tokens"], line["completion_tokens"]
        need(shown == billed(record), f"{shown} tokens listed, {billed(record)} billed")
    spent = sum(line["charge_nano"] for line in lines.values())
    left = desk.customer.balance().posted
    need(left == desk.customer.credit_nano - spent, f"{spent} charged, {left} left")


def _errors(desk: Desk, tell: dict[str, object]) -> list[Refused]:
    return [_refused(lambda ask=ask: ask(tell)) for ask in (desk.ask, desk.stream)]  # type: ignore[misc]


def _refused(attempt: Callable[[], Answer]) -> Refused:
    try:
        answer = attempt()
    except Refused as error:
        return error
    raise Wrong(f"no error came, but {answer}")


def _estimate(length: int) -> int:
    """Tokens in so many bytes."""
    return -(-length // BYTES_PER_TOKEN)
