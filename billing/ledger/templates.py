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


def refund_requested(*, organization_id: int, refund_owner: str, amount: int, tax: int) -> list[Entry]:
    """Unused paid credit leaves the wallet before anyone is asked to pay it back."""
    return [
        debit(Account.PAID_CREDIT, Owner.organization(organization_id), amount),
        debit(Account.TAX_PAYABLE, Owner.OPERATOR, tax),
        credit(Account.REFUNDS_PAYABLE, refund_owner, amount + tax),
    ]


def refund_succeeded(*, refund_owner: str, amount: int, tax: int, source: Account) -> list[Entry]:
    return [
        debit(Account.REFUNDS_PAYABLE, refund_owner, amount + tax),
        credit(source, Owner.OPERATOR, amount + tax),
    ]


def refund_failed(
    *, organization_id: int, refund_owner: str, amount: int, tax: int, clears: int
) -> list[Entry]:
    """The credit comes back, and first pays what is owed by now."""
    owner = Owner.organization(organization_id)
    return [
        debit(Account.REFUNDS_PAYABLE, refund_owner, amount + tax),
        credit(Account.TAX_PAYABLE, Owner.OPERATOR, tax),
        credit(Account.RECEIVABLE, owner, clears),
        credit(Account.PAID_CREDIT, owner, amount - clears),
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
