"""The budgets page: what an organization, its members and its keys may spend."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods, require_POST

from accounts.models import APIKey, Membership
from accounts.web.access import MemberRequest, may_manage_money, member_page, money_managers_only
from accounts.web.views import client_ip
from billing.budgets import SpentBudget, budgets_in_scope, remove_budget, set_budget
from billing.models import Budget, BudgetPeriodKind
from common.errors import AppError
from common.money import AmountInvalid, parse_nano

WHOLE = "organization"


class BudgetForm(forms.Form):
    """`subject` names whose: the organization's, "member:7" or "api_key:9", chosen from those in scope."""

    subject = forms.ChoiceField(label=_("Whose spending"))
    period = forms.ChoiceField(label=_("For"), choices=BudgetPeriodKind.choices)
    limit = forms.CharField(
        label=_("At most, USD"),
        max_length=30,
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._members = {one.user_id: one.user for one in Membership.objects.select_related("user")}
        self._keys = {key.pk: key for key in APIKey.objects.filter(revoked_at=None).order_by("name", "pk")}
        subject = self.fields["subject"]
        assert isinstance(subject, forms.ChoiceField)  # noqa: S101 - as declared above
        subject.choices = [
            (WHOLE, _("the whole organization")),
            (_("Members"), [(f"member:{pk}", str(user)) for pk, user in self._members.items()]),
            (_("API keys"), [(f"api_key:{pk}", str(key)) for pk, key in self._keys.items()]),
        ]

    def clean_limit(self) -> int:
        try:
            return parse_nano(self.cleaned_data["limit"].strip().removeprefix("$"))
        except AmountInvalid as error:
            raise ValidationError(_("Write an amount like 25 or 2.50.")) from error

    @property
    def of(self) -> dict[str, Any]:
        """The keyword that says whose the budget is; of a form that is valid."""
        kind, _colon, pk = self.cleaned_data["subject"].partition(":")
        found = {"member": self._members, "api_key": self._keys}.get(kind)
        return {kind: found[int(pk)]} if found else {}


@member_page
@require_http_methods(["GET", "POST"])
def budgets(request: MemberRequest) -> HttpResponse:
    if request.method == "GET":
        return _show(request, BudgetForm())
    return _set(request)


@money_managers_only
def _set(request: MemberRequest) -> HttpResponse:
    form = BudgetForm(request.POST)
    if not form.is_valid():
        return _show(request, form)
    try:
        set_budget(
            organization=request.organization,
            limit_nano=form.cleaned_data["limit"],
            period=form.cleaned_data["period"],
            actor=request.user,
            ip=client_ip(request),
            **form.of,
        )
    except AppError as refusal:
        form.add_error(refusal.param if refusal.param in form.fields else None, refusal.message)
        return _show(request, form)
    return redirect("budgets")


@member_page
@require_POST
@money_managers_only
def delete_budget(request: MemberRequest, budget_id: int) -> HttpResponse:
    """404 for another organization's: the scope has no such row."""
    budget = get_object_or_404(Budget.objects.all(), pk=budget_id)
    remove_budget(budget=budget, actor=request.user, ip=client_ip(request))
    return redirect("budgets")


def _show(request: MemberRequest, form: BudgetForm) -> HttpResponse:
    context = {
        "form": form,
        "budgets": [(one, _subject(one)) for one in budgets_in_scope()],
        "may_manage": may_manage_money(request.membership),
    }
    return render(request, "billing/budgets.html", context)


def _subject(one: SpentBudget) -> str:
    subject = one.budget.api_key or one.budget.member
    return str(subject) if subject else gettext("the whole organization")
