"""What became of an event of Stripe's: the answers of its handlers (`billing.stripe.inbox.HANDLERS`)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Done:
    """What the event told of is in our books, now or already."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """It is none of our business, for ever."""

    reason: str


@dataclass(frozen=True, slots=True)
class NotYet:
    """We do not know the object yet, or Stripe did not answer: look again later."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """It cannot be ours, or contradicts what we know; nothing was booked from it."""

    reason: str


Outcome = Done | Ignored | NotYet | Refused
