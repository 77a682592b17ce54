"""Where a customer may make us connect to: the public web and nothing else.

An address a customer writes is read once, strictly, and what is unusual about it is refused rather than
interpreted: every parser between here and a socket that reads it differently is a way in.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import SplitResult, quote, urlsplit

LONGEST_URL = 8_192
DEFAULT_PORTS = {"http": 80, "https": 443}

_NOT_PUBLIC_V4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",  # carriers' own; one cloud's metadata
            "127.0.0.0/8",
            "168.63.129.16/32",  # Azure's own agent, at an address that looks public
            "169.254.0.0/16",  # link-local; most clouds' metadata
            "172.16.0.0/12",
            "192.0.0.0/24",  # another cloud's metadata
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/3",  # multicast, reserved, broadcast
        ),
    )
)
_PUBLIC_V6 = IPv6Network("2000::/3")
_NOT_PUBLIC_V6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # Teredo, benchmarks, identifiers that are no addresses
            "2001:db8::/32",
            "2002::/16",  # 6to4, which can hold any IPv4 address
            "3fff::/20",
        ),
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")  # how public IPv4 looks where there is only IPv6
_UNUSUAL = re.compile(r"[\x00-\x20\x7f\\]")
_BRACKETED = re.compile(r"\[[0-9A-Fa-f:.]+\](?::[0-9]*)?")
_HOST_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_LOOKS_NUMERIC = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
_KEPT_IN_PATH = "/%:@!$&'()*+,;=~-._"


class AddressRefused(Exception):
    """We do not go there. The message ends a sentence about the address and tells nothing about our net."""


@dataclass(frozen=True, slots=True)
class WebAddress:
    """`host` is ASCII, without brackets; `target` is the path and query as they are sent."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def is_tls(self) -> bool:
        return self.scheme == "https"

    @property
    def host_header(self) -> str:
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == DEFAULT_PORTS[self.scheme] else f"{name}:{self.port}"


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """The public web on its usual ports. `also` are single addresses and ports beside it, for tests: it is
    handed in by whoever makes the fetcher, and no setting reaches it."""

    also: frozenset[tuple[str, int]] = frozenset()

    def allows_port(self, scheme: str, port: int) -> bool:
        return port == DEFAULT_PORTS[scheme] or any(port == other for _, other in self.also)

    def allows(self, address: str, port: int) -> bool:
        return (address, port) in self.also or (port in DEFAULT_PORTS.values() and is_public(address))


def is_public(address: str) -> bool:
    """Whether anybody on the internet could reach this IP address. False for what is no address."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return _is_public_v4(parsed) if isinstance(parsed, IPv4Address) else _is_public_v6(parsed)


def _is_public_v4(address: IPv4Address) -> bool:
    return address.is_global and not any(address in network for network in _NOT_PUBLIC_V4)


def _is_public_v6(address: IPv6Address) -> bool:
    """IPv4 in IPv6's clothes counts as what it is; where it can be anything, it is refused."""
    if address.scope_id is not None:
        return False
    if address.ipv4_mapped is not None:
        return _is_public_v4(address.ipv4_mapped)
    if address in _NAT64:
        return _is_public_v4(IPv4Address(int(address) & 0xFFFFFFFF))
    return address in _PUBLIC_V6 and not any(address in network for network in _NOT_PUBLIC_V6)


def read_address(url: str, policy: AddressPolicy) -> WebAddress:
    """Raises AddressRefused."""
    parts = _split(url)
    if parts.scheme not in DEFAULT_PORTS:
        raise AddressRefused("only http and https addresses are fetched")
    if "@" in parts.netloc:
        raise AddressRefused("an address with a user name or password is not fetched")
    port = _read_port(parts)
    if not policy.allows_port(parts.scheme, port):
        raise AddressRefused("only the usual ports of http and https are allowed")
    target = quote(parts.path or "/", safe=_KEPT_IN_PATH)
    if parts.query:
        target += "?" + quote(parts.query, safe=_KEPT_IN_PATH + "?")
    return WebAddress(parts.scheme, _read_host(parts), port, target)


def _split(url: str) -> SplitResult:
    if len(url) > LONGEST_URL:
        raise AddressRefused(f"the address is longer than {LONGEST_URL} characters")
    if _UNUSUAL.search(url):
        raise AddressRefused("the address holds a character that must be percent-encoded")
    try:
        return urlsplit(url)
    except ValueError:
        raise AddressRefused("the address cannot be read") from None


def _read_port(parts: SplitResult) -> int:
    try:
        port = parts.port
    except ValueError:
        raise AddressRefused("the address cannot be read") from None
    return DEFAULT_PORTS[parts.scheme] if port is None else port


def _read_host(parts: SplitResult) -> str:
    """A name in ASCII, or an IP address as everybody writes it: 0x7f.1 and 2130706433 are neither."""
    host = _to_ascii(parts.hostname or "").removesuffix(".")
    is_bracketed = _BRACKETED.fullmatch(parts.netloc) is not None
    if is_bracketed or _LOOKS_NUMERIC.fullmatch(host):
        return _read_literal(host)
    if len(host) > 253 or not _HOST_NAME.fullmatch(host) or "[" in parts.netloc:
        raise AddressRefused("the address has no valid host name")
    return host


def _to_ascii(host: str) -> str:
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode().lower()
    except UnicodeError:
        raise AddressRefused("the address has no valid host name") from None


def _read_literal(host: str) -> str:
    try:
        return str(ip_address(host))
    except ValueError:
        raise AddressRefused("the address has no valid host name") from None
