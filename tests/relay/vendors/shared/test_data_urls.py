"""Data URLs, and what is really in them."""

import pytest

from relay.errors import InvalidRequest
from relay.vendors.shared.data_urls import decode_head, decode_text, sniff_image, split_data_url


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("data:image/png;base64,AAAA", ("image/png", "AAAA")),
        ("data:Image/PNG;charset=x;BASE64,AA\n AA", ("image/png", "AAAA")),
        ("data:;base64,", ("", "")),
    ],
)
def test_type_and_data(url: str, found: tuple[str, str]) -> None:
    assert split_data_url(url, "x") == found


@pytest.mark.parametrize("url", ["data:image/png,x", "data:", "image/png;base64,AAAA"])
def test_anything_else_is_refused_by_its_path(url: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        split_data_url(url, "messages[0].x")
    assert caught.value.param == "messages[0].x"


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\0\0\0\0WEBP", "image/webp"),
        (b"RIFF\0\0\0\0WAVE", None),
        (b"\0\0\0\x18ftypheic", "image/heic"),
        (b"\0\0\0\x18ftypmif1", "image/heif"),
        (b"\0\0\0\x18ftypmp42", None),
        (b"", None),
    ],
)
def test_images_are_known_by_their_first_bytes(head: bytes, kind: str | None) -> None:
    assert sniff_image(head) == kind


def test_text_and_heads() -> None:
    assert decode_text("w6k=", "x") == "é"
    assert decode_head("QUJDRA", "x") == b"ABC"
    for bad in ("/w==", "A"):
        with pytest.raises(InvalidRequest):
            decode_text(bad, "x")
