"""What pages say about a call. The names of its channel and of the upstream model stay out."""

from dataclasses import dataclass
from datetime import timedelta

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from billing.contracts import Ending, UsageSource
from billing.models import UsageRecord
from billing.selectors import Receipt, ReceiptLine, receipt_of, usage_of
from common.ids import public_id

Words = str | Promise

CLASS_LABELS: dict[str, Words] = {
    "input": _("Input"),
    "cache_read": _("Read from cache"),
    "cache_write_5m": _("Written to cache, 5 min"),
    "cache_write_1h": _("Written to cache, 1 h"),
    "image_input": _("Image input"),
    "audio_input": _("Audio input"),
    "output": _("Output"),
    "reasoning": _("Reasoning"),
    "audio_output": _("Audio output"),
}


@dataclass(frozen=True)
class EndingWords:
    """`tone` is a class of the badge: good, warning or bad."""

    label: Words
    tone: str
    explanation: Words


ENDINGS = {
    Ending.COMPLETE: EndingWords(_("Complete"), "good", _("The model finished its answer.")),
    Ending.LENGTH: EndingWords(
        _("Cut at the limit"), "warning", _("The answer reached the output limit and stops there.")
    ),
    Ending.FILTERED: EndingWords(
        _("Filtered"), "warning", _("A content filter of the model's vendor ended the answer.")
    ),
    Ending.VENDOR_ERROR: EndingWords(
        _("Broken off"),
        "bad",
        _("The model's vendor failed midway. What had been written by then is charged."),
    ),
    Ending.CLIENT_GONE: EndingWords(
        _("Client left"),
        "warning",
        _("Your program closed the connection. What had been written by then is charged."),
    ),
}

SOURCES: dict[str, Words] = {
    UsageSource.REPORTED: _("the model's vendor"),
    UsageSource.CLAMPED: _("us: the vendor reported what cannot be, so we charge less"),
    UsageSource.ESTIMATED: _("us: an estimate, the vendor reported none"),
    UsageSource.NONE: _("nobody: nothing was used"),
}


MARKS: dict[str, Words] = {UsageSource.CLAMPED: _("Corrected"), UsageSource.ESTIMATED: _("Estimated")}


@dataclass(frozen=True)
class Call:
    """One line of the usage list."""

    record: UsageRecord

    @property
    def reference(self) -> str:
        return public_id("req", self.record.request_id)

    @property
    def prompt_tokens(self) -> int:
        return usage_of(self.record).prompt_tokens

    @property
    def completion_tokens(self) -> int:
        return usage_of(self.record).completion_tokens

    @property
    def duration(self) -> timedelta:
        return self.record.ended_at - self.record.started_at

    @property
    def wait(self) -> timedelta | None:
        """Until the first output."""
        first = self.record.first_output_at
        return first - self.record.started_at if first else None

    @property
    def tokens_per_second(self) -> int | None:
        """Of a streamed answer, from its first output on; None where that says nothing."""
        first = self.record.first_output_at
        if first is None or not self.record.is_stream:
            return None
        milliseconds = (self.record.ended_at - first) // timedelta(milliseconds=1)
        return self.completion_tokens * 1000 // milliseconds if milliseconds > 0 else None

    @property
    def ending(self) -> EndingWords:
        return ENDINGS[Ending(self.record.ending)]

    @property
    def is_complete(self) -> bool:
        return self.record.ending == Ending.COMPLETE

    @property
    def how_counted(self) -> Words | None:
        """A mark for tokens that are not as the vendor counted them."""
        return MARKS.get(self.record.usage_source)

    @property
    def source(self) -> Words:
        return SOURCES[self.record.usage_source]


@dataclass(frozen=True)
class LabelledLine:
    label: Words
    line: ReceiptLine


@dataclass(frozen=True)
class ShownReceipt:
    call: Call
    receipt: Receipt
    lines: tuple[LabelledLine, ...]

    @property
    def places(self) -> int:
        """Decimals that every amount fits in: nano-dollars, and what the exact lines need beyond."""
        amounts = [line.amount_nano for line in self.receipt.lines]
        return 9 + max([0, *(-int(one.normalize().as_tuple().exponent) for one in amounts)])


def show_receipt(record: UsageRecord) -> ShownReceipt:
    receipt = receipt_of(record)
    lines = tuple(LabelledLine(CLASS_LABELS[line.token_class], line) for line in receipt.lines)
    return ShownReceipt(Call(record), receipt, lines)
