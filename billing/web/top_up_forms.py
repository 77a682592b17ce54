"""What a customer chooses before paying: how much, and whether the card stays."""

from typing import Any, cast
from uuid import uuid4

from babel.core import get_global
from django import forms
from django.http import QueryDict
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from typing_extensions import override

from billing.terms import NANO_PER_CENT, Terms
from common.templatetags.formats import money, page_locale

PRESETS_MINOR = (10_00, 25_00, 50_00, 100_00, 250_00, 500_00)
MOST_PRESETS = 4


class VersionBox(forms.CheckboxInput):
    """Ticked, it answers with the version that was shown; one of another version is not ticked any more."""

    def __init__(self, version: str) -> None:
        super().__init__(attrs={"value": version}, check_test=lambda answer: answer == version)

    @override
    def format_value(self, value: Any) -> None:
        """The value is the version, whatever was answered."""

    @override
    def value_from_datadict(self, data: Any, files: Any, name: str) -> Any:
        return data.get(name, "")


class TermsField(forms.CharField):
    """The terms of use, accepted: in the version that is in force when the form comes back."""

    def __init__(self, terms: Terms) -> None:
        self._version = terms.terms_version
        label = gettext(
            'I accept the <a href="{url}" target="_blank" rel="noreferrer">terms of use</a> ({version}).'
        )
        super().__init__(
            label=format_html(label, url=terms.terms_url, version=terms.terms_version),
            widget=VersionBox(terms.terms_version),
            error_messages={"required": _("Accept the terms of use to go on.")},
        )

    @override
    def validate(self, value: str) -> None:
        super().validate(value)
        if value != self._version:
            raise forms.ValidationError(_("The terms of use have changed. Read and accept them again."))


class TopUpForm(forms.Form):
    """`attempt_key` is minted with the form: sent twice, it is one payment. An amount typed in counts before
    one that was clicked."""

    attempt_key = forms.CharField(widget=forms.HiddenInput, max_length=64)
    preset = forms.TypedChoiceField(
        label=_("Amount"), required=False, coerce=int, empty_value=None, widget=forms.RadioSelect
    )
    amount = forms.DecimalField(
        label=_("Another amount, in dollars"),
        required=False,
        max_digits=9,
        decimal_places=2,
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
    )
    country = forms.ChoiceField(label=_("Country"), required=False)
    save_card = forms.BooleanField(
        label=_("Keep the card for auto-recharge"),
        required=False,
        help_text=_("Stripe keeps it. Nothing is charged until you turn auto-recharge on."),
    )

    def __init__(self, *args: Any, terms: Terms, most_minor: int, country: str | None, **kwargs: Any) -> None:
        """`country` None: the tax does not depend on it, so it is not asked for."""
        kwargs.setdefault("initial", {})
        presets = presets_within(terms.least_minor, most_minor)
        chosen = {"attempt_key": uuid4().hex, "preset": presets[min(1, len(presets) - 1)], "country": country}
        kwargs["initial"] = {**chosen, **kwargs["initial"]}
        super().__init__(*args, **kwargs)
        preset = self.fields["preset"]
        assert isinstance(preset, forms.TypedChoiceField)  # noqa: S101 - as declared above
        preset.choices = [(minor, money(minor * NANO_PER_CENT)) for minor in presets]
        if terms.terms_url:
            self.fields["accepts_terms"] = TermsField(terms)
        if country is None:
            del self.fields["country"]
        else:
            self._ask_country()

    def _ask_country(self) -> None:
        field = self.fields["country"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101 - as declared above
        field.required = True
        field.choices = [("", _("Choose…")), *countries()]

    def clean(self) -> dict[str, Any]:
        answers = super().clean() or {}
        typed = answers.get("amount")
        answers["amount_minor"] = int(typed * 100) if typed is not None else answers.get("preset")
        if answers["amount_minor"] is None and "amount" not in self.errors:
            self.add_error("amount", _("Choose an amount."))
        return answers

    def renew_attempt(self) -> None:
        """What was refused or has ended is over: sent again, the form starts another payment."""
        data = cast("QueryDict", self.data).copy()
        data["attempt_key"] = uuid4().hex
        self.data = data


def presets_within(least_minor: int, most_minor: int) -> list[int]:
    """A few round amounts that may be paid; never none."""
    fitting = [minor for minor in PRESETS_MINOR if least_minor <= minor <= most_minor]
    return fitting[:MOST_PRESETS] or [max(least_minor, min(most_minor, PRESETS_MINOR[0]))]


def countries() -> list[tuple[str, str]]:
    """Two letters and the name in the page's language, by name."""
    names = page_locale().territories
    codes = [code for code in get_global("territory_zones") if code in names and code != "ZZ"]
    return sorted(((code, names[code]) for code in codes), key=lambda pair: pair[1])
