from allauth.account.forms import SignupForm as AllauthSignupForm
from django import forms
from django.utils.translation import gettext_lazy as _

from accounts.models import APIKey, Organization


class SignupForm(AllauthSignupForm):  # type: ignore[misc] # allauth ships no types
    """Asks for the organization's name as well; `accounts.adapter` makes one up where it is left out."""

    organization_name = forms.CharField(
        label=_("Organization"),
        required=False,
        max_length=Organization._meta.get_field("name").max_length,
        help_text=_("Your company or project. You can leave it out."),
        widget=forms.TextInput(attrs={"autocomplete": "organization"}),
    )


class KeyNameForm(forms.Form):
    name = forms.CharField(
        label=_("Name"),
        max_length=APIKey._meta.get_field("name").max_length,
        help_text=_("Where the key is used, so that you know it again: production, laptop, CI…"),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
