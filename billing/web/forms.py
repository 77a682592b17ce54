from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from accounts.models import APIKey
from billing.selectors import UsageFilter, models_used


class UsageFilterForm(forms.Form):
    """The filters above the usage list. What cannot be read filters nothing."""

    model = forms.ChoiceField(label=_("Model"), required=False)
    api_key = forms.ModelChoiceField(
        label=_("API key"), required=False, queryset=APIKey.across_all_organizations.none()
    )
    since = forms.DateField(
        label=_("From"), required=False, widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )
    until = forms.DateField(
        label=_("To"), required=False, widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        model, api_key = self.fields["model"], self.fields["api_key"]
        assert isinstance(model, forms.ChoiceField)  # noqa: S101 - as declared above
        assert isinstance(api_key, forms.ModelChoiceField)  # noqa: S101 - as declared above
        model.choices = [("", _("All models")), *((name, name) for name in models_used())]
        api_key.queryset = APIKey.objects.order_by("name", "pk")
        api_key.empty_label = _("All keys")

    def chosen(self) -> UsageFilter:
        self.is_valid()
        answers = self.cleaned_data
        api_key = answers.get("api_key")
        return UsageFilter(
            model=answers.get("model") or "",
            api_key_id=api_key.pk if api_key else None,
            since=answers.get("since"),
            until=answers.get("until"),
        )


class RedeemForm(forms.Form):
    code = forms.CharField(
        label=_("Code"),
        max_length=80,
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "autocapitalize": "characters", "spellcheck": "false"}
        ),
    )
