"""Events of Stripe's: stored once, answered, and looked at after that.

An event says which object to read again, never what to book. So duplicates, wrong order, and events that
never come cost time at most.
"""

from collections.abc import Callable

from billing.models import StripeEvent
from billing.stripe.outcomes import Done, Ignored, NotYet, Outcome, Refused

__all__ = ["HANDLERS", "Done", "Handler", "Ignored", "NotYet", "Outcome", "Refused"]

Handler = Callable[[StripeEvent], Outcome]

# One line a type. A handler reads `event.object_id` again at Stripe and calls the service that books what is
# missing; it may run twice, in any order. Modules of handlers import their outcomes from
# `billing.stripe.outcomes`: this module imports them.
HANDLERS: dict[str, Handler] = {}
