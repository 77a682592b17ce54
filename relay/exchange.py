"""One request on its way: what is known about it, and the one place that ends it with money."""

from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from billing.contracts import Ending, Hold, MoneyUnavailable, Outcome, TokenUsage
from billing.gate import Gate
from common.ids import public_id
from relay.contracts import ChatRequest, ReportedUsage
from relay.endings import UsageBounds, usage_owed
from relay.errors import ServiceUnavailable
from relay.routing import Target


def request_name(request_id: UUID) -> str:
    """The id under which the customer sees a request: header, receipt and export."""
    return public_id("req", request_id)


def completion_name(request_id: UUID) -> str:
    return f"chatcmpl-{request_id.hex}"


@dataclass(slots=True, eq=False)
class Exchange:
    """From the hold to the settlement. Exactly one of `settle` and `give_up` ends it."""

    gate: Gate
    request_id: UUID
    chat: ChatRequest
    target: Target
    hold: Hold
    bounds: UsageBounds
    first_output_at: datetime | None = None
    upstream_model: str = ""

    @property
    def started_at(self) -> datetime:
        """The moment that prices the request."""
        return self.hold.admitted_at

    def note_output(self) -> None:
        if self.first_output_at is None:
            self.first_output_at = datetime.now(UTC)

    def give_up(self) -> None:
        """Nothing came of it and nothing is owed."""
        self.gate.release(self.hold)

    async def settle(
        self,
        *,
        ending: Ending,
        reported: ReportedUsage | None,
        output_bytes: int,
        upstream_model: str,
        service_tier: str = "",
    ) -> TokenUsage:
        """Charge what is owed and wait for the commit; returns the usage that was charged.

        Raises ServiceUnavailable when the commit cannot be had in time.
        """
        owed = usage_owed(
            ending=ending,
            reported=reported,
            prompt_bytes=self.chat.prompt_bytes,
            output_bytes=output_bytes,
            bounds=self.bounds,
        )
        if owed is None:
            self.give_up()
            return TokenUsage()
        usage, source = owed
        outcome = Outcome(
            usage=usage,
            source=source,
            ending=ending,
            channel=self.target.channel,
            upstream_model=upstream_model,
            is_stream=self.chat.stream,
            first_output_at=self.first_output_at,
            ended_at=datetime.now(UTC),
            service_tier=service_tier,
        )
        await _committed(self.gate.settle(self.hold, outcome))
        return usage


async def _committed(settling: Awaitable[object]) -> None:
    try:
        await settling
    except MoneyUnavailable as error:
        raise ServiceUnavailable(
            "The request was served but could not be booked in time.", headers={"retry-after": "5"}
        ) from error
