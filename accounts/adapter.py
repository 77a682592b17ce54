"""How allauth's sign-up meets our accounts."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.db import transaction
from django.forms import BaseForm
from django.http import HttpRequest

from accounts.models import User
from accounts.services import create_organization


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc] # allauth ships no types
    @transaction.atomic
    def save_user(self, request: HttpRequest, user: User, form: BaseForm, commit: bool = True) -> User:
        """The person and the organization are made together or not at all."""
        saved: User = super().save_user(request, user, form, commit)
        create_organization(
            owner=saved,
            name=organization_name(form.cleaned_data),
            ip=self.get_client_ip(request),
        )
        return saved


def organization_name(answers: dict[str, Any]) -> str:
    """What was typed, or a name out of the e-mail address: the company's domain says more than the person."""
    typed = str(answers.get("organization_name") or "").strip()
    if typed:
        return typed
    person, _, domain = str(answers["email"]).partition("@")
    return person if domain.lower() in SHARED_DOMAINS else domain.split(".")[0].capitalize()


# Mailboxes of everybody: their domain names no organization.
SHARED_DOMAINS = frozenset(
    {
        "126.com", "139.com", "163.com", "aol.com", "fastmail.com", "foxmail.com", "gmail.com",
        "gmx.com", "gmx.de", "googlemail.com", "hotmail.com", "icloud.com", "live.com", "mail.com",
        "mail.ru", "me.com", "msn.com", "outlook.com", "pm.me", "proton.me", "protonmail.com",
        "qq.com", "sina.com", "sohu.com", "vip.qq.com", "yahoo.com", "yandex.ru", "yeah.net",
    }
)  # fmt: skip
