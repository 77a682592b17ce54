"""A code gives what it says, once for each organization, and never more often than it may."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import Organization, Reseller, User
from accounts.services import create_organization, ensure_house_reseller
from billing.ledger import Account
from billing.models import (
    Grant,
    GrantKind,
    LedgerTransaction,
    Lot,
    PostingKind,
    Voucher,
    VoucherMiss,
    VoucherRedemption,
    VoucherSeries,
)
from billing.operators import SecondOperatorNeeded
from billing.vouchers import (
    ALPHABET,
    CODE_LENGTH,
    MISSES_ALLOWED,
    CodesHandedOut,
    TooManyWrongCodes,
    VoucherCodeTaken,
    VoucherDisabled,
    VoucherElsewhere,
    VoucherExpired,
    VoucherInvalid,
    VoucherRedeemedBefore,
    VoucherRefused,
    VoucherTerms,
    VoucherUnknown,
    VoucherUsedUp,
    create_voucher,
    create_voucher_series,
    grouped,
    hand_out_codes,
    normalize_code,
    redeem_voucher,
    switch_vouchers,
)
from tests.billing.test_settle_concurrency import at_once
from tests.factories.credit import assert_money_adds_up, balance
from tests.factories.money import Payer, make_payer
from tests.factories.processes import start_python

DOLLAR = 10**9


def terms(**changes: Any) -> VoucherTerms:
    house = ensure_house_reseller()
    values: dict[str, Any] = {"reseller": house, "campaign": "launch", "amount_nano": 5 * DOLLAR}
    return VoucherTerms(**values | changes)


def make_voucher(code: str = "WELCOME", **changes: Any) -> Voucher:
    return create_voucher(terms=terms(**changes), code=code)


def redeem(payer: Payer, code: str = "WELCOME") -> VoucherRedemption:
    return redeem_voucher(organization=payer.organization, code=code)


@given(st.text(ALPHABET, min_size=4, max_size=40))
def test_a_code_is_the_same_however_it_is_written(code: str) -> None:
    assert normalize_code(grouped(code)) == code
    assert normalize_code(grouped(code).lower().replace("-", " ")) == code


def test_full_width_letters_and_long_dashes_are_read_too() -> None:
    assert normalize_code(" \uff41\uff42\uff43\uff12\u20149xyz ") == "ABC29XYZ"


def test_random_codes_have_enough_of_it_and_nothing_to_mistake() -> None:
    assert len(ALPHABET) ** CODE_LENGTH >= 2**80
    assert not set("01ILOU") & set(ALPHABET)


@pytest.mark.django_db
class TestRedeeming:
    def test_a_code_gives_promotional_credit_that_lasts_as_it_says(self) -> None:
        payer = make_payer()
        make_voucher(credit_days=30)
        redemption = redeem(payer, "wel-come")
        lot = Lot.across_all_organizations.get()
        assert payer.wallet.posted == 5 * DOLLAR
        assert (lot.kind, lot.original) == ("promotional", 5 * DOLLAR)
        assert lot.expires_at is not None
        assert abs(lot.expires_at - timezone.now() - timedelta(days=30)) < timedelta(minutes=1)
        grant = redemption.grant
        assert (grant.kind, grant.fact_key) == (
            GrantKind.VOUCHER,
            f"voucher:{redemption.voucher_id}:{payer.organization.pk}",
        )
        assert balance(Account.PROMOTIONS, "campaign:launch") == 5 * DOLLAR
        assert LedgerTransaction.objects.get().kind == PostingKind.GRANT
        assert Voucher.objects.get().used == 1
        assert_money_adds_up()

    def test_an_organization_has_it_once(self) -> None:
        payer = make_payer()
        make_voucher(max_uses=5)
        redeem(payer)
        with pytest.raises(VoucherRedeemedBefore):
            redeem(payer)
        assert (payer.wallet.posted, Voucher.objects.get().used) == (5 * DOLLAR, 1)

    def test_a_code_for_two_serves_two(self) -> None:
        make_voucher(max_uses=2)
        redeem(make_payer())
        redeem(make_payer())
        third = make_payer()
        with pytest.raises(VoucherUsedUp):
            redeem(third)
        assert third.wallet.posted == 0

    def test_a_disabled_code_gives_nothing(self) -> None:
        make_voucher()
        switch_vouchers(vouchers=Voucher.objects.all(), enabled=False)
        with pytest.raises(VoucherDisabled):
            redeem(make_payer())

    def test_an_expired_code_gives_nothing(self) -> None:
        make_voucher(expires_at=timezone.now() + timedelta(days=1))
        Voucher.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        with pytest.raises(VoucherExpired):
            redeem(make_payer())

    def test_another_shops_code_gives_nothing(self) -> None:
        make_voucher(reseller=Reseller.objects.create(slug="other", name="Other"))
        with pytest.raises(VoucherElsewhere):
            redeem(make_payer())

    def test_a_wrong_code_is_refused(self) -> None:
        with pytest.raises(VoucherUnknown):
            redeem(make_payer(), "no such code")

    def test_refusals_have_codes_of_their_own(self) -> None:
        kinds: list[type[VoucherRefused]] = [VoucherRefused, *VoucherRefused.__subclasses__()]
        assert len({kind.code for kind in kinds}) == len(kinds)

    def test_guessing_ends_after_some_wrong_codes_even_with_a_right_one(self) -> None:
        payer, other = make_payer(), make_payer()
        make_voucher(max_uses=2)
        for number in range(MISSES_ALLOWED):
            with pytest.raises(VoucherUnknown):
                redeem(payer, f"GUESS{number}")
        with pytest.raises(TooManyWrongCodes):
            redeem(payer)
        redeem(other)
        assert (payer.wallet.posted, other.wallet.posted) == (0, 5 * DOLLAR)

    def test_an_hour_later_codes_can_be_tried_again(self) -> None:
        payer = make_payer()
        make_voucher()
        for number in range(MISSES_ALLOWED):
            with pytest.raises(VoucherUnknown):
                redeem(payer, f"GUESS{number}")
        VoucherMiss.across_all_organizations.update(missed_at=timezone.now() - timedelta(minutes=61))
        redeem(payer)
        with pytest.raises(VoucherUnknown):
            redeem(payer, "WRONG")
        assert VoucherMiss.across_all_organizations.count() == 1


@pytest.mark.django_db
class TestMaking:
    def test_a_series_has_as_many_different_codes(self) -> None:
        series = create_voucher_series(terms=terms(amount_nano=1), size=50, fact_key="form")
        codes = set(series.vouchers.values_list("code", flat=True))
        assert len(codes) == 50
        assert all(len(code) == CODE_LENGTH and not set(code) - set(ALPHABET) for code in codes)

    def test_the_same_form_makes_one_series(self) -> None:
        for _ in range(2):
            create_voucher_series(terms=terms(amount_nano=1), size=3, fact_key="form")
        assert (VoucherSeries.objects.count(), Voucher.objects.count()) == (1, 3)

    def test_codes_are_handed_out_once(self) -> None:
        series = create_voucher_series(terms=terms(amount_nano=1), size=3, fact_key="form")
        assert len(hand_out_codes(series=series)) == 3
        with pytest.raises(CodesHandedOut):
            hand_out_codes(series=series)

    def test_pages_show_the_ends_of_a_random_code_only(self) -> None:
        series = create_voucher_series(terms=terms(amount_nano=1), size=1, fact_key="form")
        voucher = series.vouchers.get()
        assert voucher.code not in voucher.shown_code
        assert make_voucher("BLACKFRIDAY").shown_code == "BLACKFRIDAY"

    def test_a_chosen_word_is_there_once(self) -> None:
        make_voucher("Black Friday")
        with pytest.raises(VoucherCodeTaken):
            make_voucher("black-friday")

    @pytest.mark.parametrize("code", ["abc", "", "----", "é" * 8, "x" * 41])
    def test_what_is_no_code_is_refused(self, code: str) -> None:
        with pytest.raises(VoucherInvalid):
            make_voucher(code)

    @pytest.mark.parametrize(
        "changes",
        [
            {"amount_nano": 0},
            {"amount_nano": 2**62, "max_uses": 4},
            {"max_uses": 0},
            {"credit_days": 0},
            {"campaign": " "},
            {"expires_at": timezone.now() - timedelta(days=1)},
        ],
    )
    def test_what_is_no_voucher_is_refused(self, changes: dict[str, Any]) -> None:
        with pytest.raises(VoucherInvalid):
            make_voucher(**changes)

    @pytest.mark.parametrize("size", [0, 10_001])
    def test_a_series_has_bounds(self, size: int) -> None:
        with pytest.raises(VoucherInvalid):
            create_voucher_series(terms=terms(), size=size, fact_key="form")

    def test_worth_over_the_limit_waits_for_another_operator(self, settings: Any) -> None:
        settings.SECOND_OPERATOR_OVER_NANO = 10 * DOLLAR
        maker, other = (User.objects.create_user(f"{name}@example.com") for name in ("maker", "other"))
        series = create_voucher_series(terms=terms(), size=3, fact_key="form", created_by=maker)
        one = Voucher.objects.filter(pk=series.vouchers.earliest("pk").pk)
        with pytest.raises(VoucherDisabled):
            redeem(make_payer(), one.get().code)
        with pytest.raises(SecondOperatorNeeded):
            switch_vouchers(vouchers=one, enabled=True, actor=maker)
        assert switch_vouchers(vouchers=series.vouchers.all(), enabled=True, actor=other) == 3
        assert switch_vouchers(vouchers=series.vouchers.all(), enabled=True, actor=other) == 0
        redeem(make_payer(), one.get().code)

    def test_a_small_voucher_is_good_at_once_and_can_be_switched_by_its_maker(self, settings: Any) -> None:
        settings.SECOND_OPERATOR_OVER_NANO = 10 * DOLLAR
        maker = User.objects.create_user("maker@example.com")
        create_voucher(terms=terms(), code="WELCOME", created_by=maker)
        for enabled in (False, True):
            assert switch_vouchers(vouchers=Voucher.objects.all(), enabled=enabled, actor=maker) == 1
        redeem(make_payer())


def organizations(count: int) -> list[Organization]:
    owner = User.objects.create_user("many@example.com")
    return [create_organization(owner=owner, name=str(number)) for number in range(count)]


def outcome(organization: Organization, code: str) -> type[Exception] | None:
    try:
        redeem_voucher(organization=organization, code=code)
    except VoucherRefused as refusal:
        return type(refusal)
    return None


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    def test_one_code_a_hundred_organizations_one_credit(self) -> None:
        make_voucher()

        def attempt(organization: Organization) -> Callable[[], type[Exception] | None]:
            return lambda: outcome(organization, "WELCOME")

        outcomes: list[type[Exception] | None] = []
        many = organizations(100)
        for start in range(0, 100, 25):  # the test server takes a hundred connections in all
            outcomes += at_once(*[attempt(one) for one in many[start : start + 25]])
        assert outcomes.count(None) == 1
        assert outcomes.count(VoucherUsedUp) == 99
        assert Grant.across_all_organizations.count() == 1
        assert_money_adds_up()

    def test_one_organization_redeeming_at_once_has_it_once(self) -> None:
        payer = make_payer()
        make_voucher(max_uses=20)
        outcomes = at_once(*[lambda: outcome(payer.organization, "WELCOME")] * 20)
        assert outcomes.count(None) == 1
        assert (payer.wallet.posted, Voucher.objects.get().used) == (5 * DOLLAR, 1)

    def test_a_code_for_seven_serves_seven_of_many(self) -> None:
        make_voucher(max_uses=7)
        many = organizations(20)
        outcomes = at_once(*[lambda one=one: outcome(one, "WELCOME") for one in many])
        assert outcomes.count(None) == 7
        assert Voucher.objects.get().used == 7
        assert_money_adds_up()

    def test_guesses_at_once_are_all_counted(self) -> None:
        payer = make_payer()
        outcomes = at_once(*[lambda: outcome(payer.organization, "WRONG")] * 20)
        assert outcomes.count(VoucherUnknown) == MISSES_ALLOWED
        assert outcomes.count(TooManyWrongCodes) == 20 - MISSES_ALLOWED

    def test_processes_redeem_one_code_once(self) -> None:
        """A hundred tries from four processes, each with a connection of its own."""
        make_voucher()
        many = [one.pk for one in organizations(100)]
        workers = [start_python(WORKER.format(ids=many[start::4])) for start in range(4)]
        given = [int(worker.communicate(timeout=60)[0]) for worker in workers]
        assert sum(given) == 1
        assert Grant.across_all_organizations.count() == 1
        assert_money_adds_up()


WORKER = """
from accounts.models import Organization
from billing.vouchers import VoucherUsedUp, redeem_voucher
given = 0
for organization in Organization.objects.filter(pk__in={ids}):
    try:
        redeem_voucher(organization=organization, code="WELCOME")
        given += 1
    except VoucherUsedUp:
        pass
print(given)
"""
