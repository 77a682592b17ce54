"""What each business fact debits and credits. Pure: amounts in nano-units in, entries out."""

from billing.ledger.chart import Account, Entry, Owner, credit, debit

CREDIT_ACCOUNTS = {"paid": Account.PAID_CREDIT, "promotional": Account.PROMOTIONAL_CREDIT}
REVENUE_ACCOUNTS = {"paid": Account.PAID_REVENUE, "promotional": Account.PROMOTIONAL_REVENUE}
# What expired paid credit becomes is income; promotional credit was a cost that did not come about.
EXPIRY_ACCOUNTS = {"paid": Account.BREAKAGE, "promotional": Account.PROMOTIONS}


def credit_in(
    *,
    organization_id: int,
    kind: str,
    amount: int,
    clears: int,
    source: Account,
    source_owner: str,
    tax: int = 0,
) -> list[Entry]:
    """Credit comes in and first pays what is owed: `clears` of `amount`. `tax` came with it, on top."""
    owner = Owner.organization(organization_id)
    return [
        debit(source, source_owner, amount + tax),
        credit(Account.TAX_PAYABLE, Owner.OPERATOR, tax),
        credit(Account.RECEIVABLE, owner, clears),
        credit(CREDIT_ACCOUNTS[kind], owner, amount - clears),
    ]


def usage(*, organization_id: int, reseller_id: int, spent: dict[str, int], uncollected: int) -> list[Entry]:
    """`spent` by kind of credit; `uncollected` is what the wallet could not pay."""
    owner, seller = Owner.organization(organization_id), Owner.reseller(reseller_id)
    entries = [
        entry
        for kind, amount in spent.items()
        for entry in (
            debit(CREDIT_ACCOUNTS[kind], owner, amount),
            credit(REVENUE_ACCOUNTS[kind], seller, amount),
        )
    ]
    return [
        *entries,
        debit(Account.RECEIVABLE, owner, uncollected),
        credit(Account.PAID_REVENUE, seller, uncollected),
    ]


def margin(*, reseller_id: int, amount: int) -> list[Entry]:
    """What a reseller earned: retail less wholesale, on what customers paid for."""
    owner = Owner.reseller(reseller_id)
    return [
        debit(Account.RESELLER_COMMISSION, owner, amount),
        credit(Account.RESELLER_PAYABLE, owner, amount),
    ]


def upstream_cost(*, channel: str, amount: int) -> list[Entry]:
    owner = Owner.channel(channel)
    return [debit(Account.UPSTREAM_COST, owner, amount), credit(Account.UPSTREAM_PAYABLE, owner, amount)]


def expiry(*, organization_id: int, kind: str, amount: int) -> list[Entry]:
    return [
        debit(CREDIT_ACCOUNTS[kind], Owner.organization(organization_id), amount),
        credit(EXPIRY_ACCOUNTS[kind], Owner.OPERATOR, amount),
    ]


def refund_requested(
    *,
    organization_id: int,
    refund_owner: str,
    amount: int,
    tax: int,
    owed: int = 0,
    source: Account = Account.PAID_CREDIT,
) -> list[Entry]:
    """Credit leaves before anyone is asked to pay it back; `owed` of it was spent already and is a debt now.

    `source` is HELD_CREDIT where the customer never had the use of it.
    """
    owner = Owner.organization(organization_id)
    return [
        debit(source, owner, amount - owed),
        debit(Account.RECEIVABLE, owner, owed),
        debit(Account.TAX_PAYABLE, Owner.OPERATOR, tax),
        credit(Account.REFUNDS_PAYABLE, refund_owner, amount + tax),
    ]


def refund_succeeded(*, refund_owner: str, amount: int, tax: int, source: Account) -> list[Entry]:
    return [
        debit(Account.REFUNDS_PAYABLE, refund_owner, amount + tax),
        credit(source, Owner.OPERATOR, amount + tax),
    ]


def refund_failed(
    *,
    organization_id: int,
    refund_owner: str,
    amount: int,
    tax: int,
    clears: int,
    was_paid: bool = False,
    target: Account = Account.PAID_CREDIT,
) -> list[Entry]:
    """The credit comes back, and first pays what is owed by now. `was_paid`: Stripe has the money again."""
    owner = Owner.organization(organization_id)
    source = (
        (Account.STRIPE_CLEARING, Owner.OPERATOR) if was_paid else (Account.REFUNDS_PAYABLE, refund_owner)
    )
    return [
        debit(*source, amount + tax),
        credit(Account.TAX_PAYABLE, Owner.OPERATOR, tax),
        credit(Account.RECEIVABLE, owner, clears),
        credit(target, owner, amount - clears),
    ]


def dispute_money(*, dispute_owner: str, amount: int, fee: int) -> list[Entry]:
    """Stripe took (or, both negative, returned) disputed money, and its fee with it."""
    return [
        debit(Account.DISPUTE_RECEIVABLE, dispute_owner, amount),
        debit(Account.DISPUTE_FEES, Owner.OPERATOR, fee),
        credit(Account.STRIPE_CLEARING, Owner.OPERATOR, amount + fee),
    ]


def credit_held(*, organization_id: int, amount: int) -> list[Entry]:
    owner = Owner.organization(organization_id)
    return [debit(Account.PAID_CREDIT, owner, amount), credit(Account.HELD_CREDIT, owner, amount)]


def held_credit_free(*, organization_id: int, amount: int, clears: int) -> list[Entry]:
    """What was held is credit again, after what is owed by now."""
    owner = Owner.organization(organization_id)
    return [
        debit(Account.HELD_CREDIT, owner, amount),
        credit(Account.RECEIVABLE, owner, clears),
        credit(Account.PAID_CREDIT, owner, amount - clears),
    ]


def dispute_lost(
    *,
    organization_id: int,
    reseller_id: int,
    dispute_owner: str,
    held: int,
    owed: int,
    tax: int,
    margin_back: int,
) -> list[Entry]:
    """The money is gone for good: the held credit pays for it, and what was spent of it is owed."""
    owner = Owner.organization(organization_id)
    return [
        debit(Account.HELD_CREDIT, owner, held),
        debit(Account.RECEIVABLE, owner, owed),
        debit(Account.TAX_PAYABLE, Owner.OPERATOR, tax),
        credit(Account.DISPUTE_RECEIVABLE, dispute_owner, held + owed + tax),
        *margin(reseller_id=reseller_id, amount=-margin_back),
    ]


def dispute_won_after_all(
    *,
    organization_id: int,
    reseller_id: int,
    dispute_owner: str,
    amount: int,
    held: int,
    clears: int,
    tax: int,
    margin_again: int,
) -> list[Entry]:
    """Undoes a loss: `amount` of credit comes back, `held` of it to where it waits, the rest after debts."""
    owner = Owner.organization(organization_id)
    return [
        debit(Account.DISPUTE_RECEIVABLE, dispute_owner, amount + tax),
        credit(Account.TAX_PAYABLE, Owner.OPERATOR, tax),
        credit(Account.HELD_CREDIT, owner, held),
        credit(Account.RECEIVABLE, owner, clears),
        credit(Account.PAID_CREDIT, owner, amount - held - clears),
        *margin(reseller_id=reseller_id, amount=margin_again),
    ]


def payout(*, amount: int) -> list[Entry]:
    """From Stripe to the bank; negative: it came back, or Stripe took money from the bank."""
    return [
        debit(Account.BANK, Owner.OPERATOR, amount),
        credit(Account.STRIPE_CLEARING, Owner.OPERATOR, amount),
    ]


def taken_back(
    *, organization_id: int, by_kind: dict[str, int], owed: int, counter: Account, counter_owner: str
) -> list[Entry]:
    """Credit leaves the wallet again; what is spent already becomes a debt: `owed`."""
    owner = Owner.organization(organization_id)
    total = sum(by_kind.values()) + owed
    return [
        *(debit(CREDIT_ACCOUNTS[kind], owner, amount) for kind, amount in by_kind.items()),
        debit(Account.RECEIVABLE, owner, owed),
        credit(counter, counter_owner, total),
    ]


def written_off(*, organization_id: int, amount: int) -> list[Entry]:
    return [
        debit(Account.BAD_DEBT, Owner.OPERATOR, amount),
        credit(Account.RECEIVABLE, Owner.organization(organization_id), amount),
    ]


def usage_corrected(
    *, organization_id: int, reseller_id: int, returned: dict[str, int], forgiven: int, margin_back: int
) -> list[Entry]:
    """A charge is given back: to the kinds of credit it came from, and off the debt it left."""
    owner, seller = Owner.organization(organization_id), Owner.reseller(reseller_id)
    entries = [
        entry
        for kind, amount in returned.items()
        for entry in (
            credit(CREDIT_ACCOUNTS[kind], owner, amount),
            debit(REVENUE_ACCOUNTS[kind], seller, amount),
        )
    ]
    return [
        *entries,
        credit(Account.RECEIVABLE, owner, forgiven),
        debit(Account.PAID_REVENUE, seller, forgiven),
        *margin(reseller_id=reseller_id, amount=-margin_back),
    ]
