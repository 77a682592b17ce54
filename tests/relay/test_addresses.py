"""Which addresses are the public web, however they are written."""

import pytest

from relay.addresses import AddressPolicy, AddressRefused, WebAddress, is_public, read_address

PUBLIC_ONLY = AddressPolicy()


@pytest.mark.parametrize(
    "address",
    ["93.184.216.34", "1.1.1.1", "172.32.0.1", "2606:2800:220:1::1", "::ffff:8.8.8.8", "64:ff9b::808:808"],
)
def test_the_public_web_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "127.0.0.1", "127.255.255.254", "10.1.2.3", "172.16.0.1", "172.31.255.255"),  # noqa: S104 - an address, not a binding
        *("192.168.1.1", "169.254.169.254", "169.254.170.2", "100.64.0.1", "100.100.100.200"),
        *("192.0.0.192", "168.63.129.16", "198.18.0.1", "192.0.2.1", "224.0.0.1", "240.0.0.1"),
        *("255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "2606::1%eth0", "fd00:ec2::254"),
        *("fc00::1", "fec0::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1"),
        *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::808:808", "2002:7f00:1::", "2001:db8::1"),
        *("2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:2::1", "3fff::1", "100::1", "4000::1", "", "name"),
    ],
)
def test_what_is_not_the_public_web_is_not(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            "https://Example.COM/a%20b.png?x=1&y=ü#there",
            ("https", "example.com", 443, "/a%20b.png?x=1&y=%C3%BC"),
        ),
        ("http://example.com:80", ("http", "example.com", 80, "/")),
        ("https://example.com./图.png", ("https", "example.com", 443, "/%E5%9B%BE.png")),
        ("https://bücher.example/", ("https", "xn--bcher-kva.example", 443, "/")),
        ("https://xn--bcher-kva.example/", ("https", "xn--bcher-kva.example", 443, "/")),
        ("http://93.184.216.34/a", ("http", "93.184.216.34", 80, "/a")),
        ("http://[2606:2800:0220:0001::1]:80/a", ("http", "2606:2800:220:1::1", 80, "/a")),
    ],
)
def test_an_address_is_read(url: str, expected: tuple[str, str, int, str]) -> None:
    assert read_address(url, PUBLIC_ONLY) == WebAddress(*expected)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "file:///etc/passwd",
            "ftp://example.com/",
            "gopher://example.com/",
            "data:image/png;base64,AA",
            "",
        ),
        *("https://user@example.com/", "https://user:pw@example.com/", "https://@example.com/"),
        *("https://example.com@169.254.169.254/", "https://example.com:443@127.0.0.1/"),
        *("http://example.com:8080/", "https://example.com:80/", "http://example.com:443/"),
        *("http://example.com:0/", "http://example.com:99999/", "http://example.com:x/"),
        *("http://2130706433/", "http://0x7f000001/", "http://017700000001/", "http://0x7f.0.0.1/"),
        *("http://127.1/", "http://0177.0.0.1/", "http://127.0.0.01/", "http://127.0.0.0x1/", "http://0x/"),
        *(
            "http://[::1%25eth0]/",
            "http://[::1",
            "http://::1/",
            "http://[127.0.0.1]x/",
            "http://[v1.x]/",
            "http://x[::1]/",
            "http://[::1]x/",
            "http://[1.1.1.1.]/",
        ),
        *("http:///path", "http://", "http:/example.com/", "http://exa mple.com/", "http://example.com/a b"),
        *("http://example.com\\@127.0.0.1/", "http://example.com/\r\nHost: x", "\thttp://example.com/"),
        *(
            "http://-x.example/",
            "http://a..example/",
            "http://a%00.example/",
            "http://" + "a" * 64 + ".example/",
        ),
        *(
            "http://" + "a." * 130 + "example/",
            "https://example.com/" + "a" * 8192,
            "http://\uff41\u2024\u2024\uff42/",
        ),
    ],
)
def test_an_unusual_address_is_refused(url: str) -> None:
    with pytest.raises(AddressRefused):
        read_address(url, PUBLIC_ONLY)


def test_wide_digits_are_digits() -> None:
    """What looks like a name and becomes an IP address on the way is held to be one."""
    address = read_address("http://\uff11\uff12\uff17\u3002\uff10\u3002\uff10\u3002\uff11/", PUBLIC_ONLY)
    assert address.host == "127.0.0.1"
    assert not PUBLIC_ONLY.allows(address.host, address.port)


def test_only_what_was_handed_in_is_allowed_beside_the_public_web() -> None:
    policy = AddressPolicy(also=frozenset({("127.0.0.1", 8123)}))
    assert read_address("http://127.0.0.1:8123/x", policy).port == 8123
    assert policy.allows("127.0.0.1", 8123)
    assert not policy.allows("127.0.0.1", 80)
    assert not policy.allows("127.0.0.2", 8123)
    assert not policy.allows("93.184.216.34", 8123)
