"""What the relay knows about a caller."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Principal:
    """The API key behind a request and whose it is; ids only. `member_id` is who made the key."""

    api_key_id: int
    organization_id: int
    reseller_id: int
    member_id: int | None = None
