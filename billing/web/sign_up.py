"""Signing up, as far as money cares: from where, how often, and through whose link."""

from collections.abc import Callable
from typing import Any

from allauth.account.adapter import get_adapter
from allauth.account.signals import email_confirmed
from allauth.core import context
from django import forms
from django.db import transaction
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from accounts.adapter import AccountAdapter as PlainAdapter
from accounts.models import User
from accounts.services import ensure_house_reseller
from accounts.web.forms import SignupForm as PlainForm
from billing.campaigns import on_email_verified, on_sign_up
from billing.sign_ups import TooManySignUps, check_sign_up, note_refused_sign_up, record_sign_up
from billing.vouchers import LONGEST_CODE, normalize_code

SESSION_KEY = "referral_code"


class AccountAdapter(PlainAdapter):
    @transaction.atomic
    def save_user(self, request: HttpRequest, user: User, form: forms.BaseForm, commit: bool = True) -> User:
        """Raises TooManySignUps: then there is no user either."""
        saved = super().save_user(request, user, form, commit)
        organization = saved.organizations.get()
        ip = self.get_client_ip(request)
        record_sign_up(user=saved, reseller_id=organization.reseller_id, ip=ip)
        on_sign_up(organization, ip, code=request.session.get(SESSION_KEY, ""))
        return saved


class SignupForm(PlainForm):
    """Says on the form that too many signed up; who comes in between gets a page that says less."""

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean()
        ip = get_adapter().get_client_ip(context.request)
        try:
            check_sign_up(reseller_id=ensure_house_reseller().pk, ip=ip)
        except TooManySignUps as refusal:
            note_refused_sign_up(ip=ip)
            raise forms.ValidationError(refusal.message, code=refusal.code) from refusal
        return cleaned

    def try_save(self, request: HttpRequest) -> tuple[User | None, HttpResponse | None]:
        try:
            saved: tuple[User | None, HttpResponse | None] = super().try_save(request)
        except TooManySignUps:
            note_refused_sign_up(ip=get_adapter().get_client_ip(request))
            return None, render(request, "429.html", status=429)
        request.session.pop(SESSION_KEY, None)
        return saved


class ReferralMiddleware:
    """Keeps the code of a referral link in the session until its visitor signs up. After authentication."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        code = request.GET.get("ref", "")
        if 0 < len(code) <= LONGEST_CODE and not request.user.is_authenticated:
            request.session[SESSION_KEY] = normalize_code(code)
        return self.get_response(request)


@receiver(email_confirmed, dispatch_uid="billing.sign_up_bonus")
def welcome(email_address: Any, **_kwargs: Any) -> None:
    """An address is verified outside of any transaction: nothing that fails here takes that back."""
    on_email_verified(email_address.user)
