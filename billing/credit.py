"""The credit that this process holds of a wallet or a budget: arithmetic in memory, no I/O.

`free` is what the open lease still allows, after every open hold and every charge that is under way. It may
turn negative when a request cost more than its hold; then nothing is admitted until the lease grows.
"""

import math
from dataclasses import dataclass

SPEND_MEMORY_S = 10.0
LEASE_COVERS_S = 20.0
HOLDS_PER_LEASE = 4
UNLIMITED_SHARE = 16
REFUSAL_MEMORY_S = 0.25


@dataclass(slots=True, eq=False)
class Credit:
    """One lease in this process. `generation` grows when the lease ends: holds of an ended lease give
    nothing back to the next one."""

    owner_id: int
    free: int = 0
    wallet_free: int = 0
    deadline: float = 0.0
    generation: int = 0
    open_requests: int = 0
    leases_asked: int = 0  # whose answers are still to come, whoever waits for them
    last_used: float = 0.0
    spend_per_s: float = 0.0
    spend_at: float = 0.0
    refused_need: int = 0
    refused_until: float = 0.0

    def has_lease(self) -> bool:
        return self.deadline > 0.0

    def admits(self, amount: int, now: float) -> bool:
        """What certainly costs nothing needs no credit."""
        return amount == 0 or (self.free >= amount and now < self.deadline)

    def take(self, amount: int, now: float) -> None:
        self.free -= amount
        self.last_used = now

    def give_back(self, held: int, charge: int, generation: int) -> None:
        """A hold ended and cost `charge`. One of an ended lease was charged to the lease open now."""
        if generation == self.generation:
            self.free += held - charge
        elif self.has_lease():
            self.free -= charge

    def note_spending(self, charge: int, now: float) -> None:
        elapsed = now - self.spend_at
        self.spend_per_s = self.spend_per_s * math.exp(-elapsed / SPEND_MEMORY_S) + charge / SPEND_MEMORY_S
        self.spend_at = now

    def wanted(self, amount: int) -> int:
        """How much to ask for when `amount` does not fit: some seconds of spending, some requests ahead."""
        return max(amount * HOLDS_PER_LEASE, int(self.spend_per_s * LEASE_COVERS_S))

    def share(self) -> int:
        """What a request without a limit of its own may hold: a part, so that others find credit too."""
        return max(0, self.free + self.wallet_free) // UNLIMITED_SHARE

    def note_refusal(self, need: int, now: float) -> None:
        self.refused_need = need
        self.refused_until = now + REFUSAL_MEMORY_S

    def was_refused(self, need: int, now: float) -> bool:
        """Whether the wallet could not carry as much a moment ago: an empty wallet under fire costs no
        query each time."""
        return now < self.refused_until and need >= self.refused_need

    def forget_refusal(self) -> None:
        self.refused_until = 0.0

    def give_up_idle(self) -> int:
        """What nobody here needs now, for a process that does."""
        idle = max(0, self.free) if self.has_lease() else 0
        self.free -= idle
        return idle

    def grow(self, granted: int, wallet_free: int, deadline: float) -> None:
        """The database's answer; nothing granted leaves the lease as it is."""
        self.wallet_free = wallet_free
        if granted:
            self.free += granted
            self.deadline = deadline

    def end(self) -> None:
        """The lease is over: returned, or reaped because we could not renew it."""
        self.free = 0
        self.deadline = 0.0
        self.generation += 1
