"""The Gemini double as a child process of a test."""

from pathlib import Path
from typing import ClassVar

from typing_extensions import override

from tests.doubles.process import VendorDouble


class GeminiDouble(VendorDouble):
    """`with GeminiDouble() as vendor:` starts and stops it."""

    script: ClassVar[Path] = Path(__file__).with_name("gemini_double.py")

    @property
    @override
    def base_url(self) -> str:
        """What a channel of this vendor takes: the version is part of every path."""
        return self.origin
