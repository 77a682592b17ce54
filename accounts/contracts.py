"""What the relay knows about a caller."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Principal:
    """The API key behind a request and whose it is; ids only."""

    api_key_id: int
    organization_id: int
    reseller_id: int
