"""The ledger: a fact is posted once, balances or not at all, and is never changed."""

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from billing.ledger import Account, Entry, FactContradicts, Posting, fold, post
from billing.ledger.posting import PostingUnbalanced
from billing.models import (
    LedgerAccount,
    LedgerEntry,
    LedgerTransaction,
    LedgerUnfolded,
    PostingKind,
)

pytestmark = pytest.mark.django_db


def promise(amount: int, *, fact: str = "fact", kind: PostingKind = PostingKind.GRANT) -> Posting:
    return Posting(
        fact_key=fact,
        kind=kind,
        entries=[
            Entry(Account.PROMOTIONS, "campaign:test", amount),
            Entry(Account.PROMOTIONAL_CREDIT, "organization:1", -amount),
        ],
    )


def balance(account: Account, owner: str) -> int:
    return LedgerAccount.objects.get(code=account, owner=owner).balance


def refused(statement: str) -> str:
    """The database's error, at the latest when the transaction is to be committed."""
    with pytest.raises(DatabaseError) as caught:
        run_and_check(statement)
    return str(caught.value)


def run_and_check(statement: str) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def test_a_fact_told_again_is_posted_once() -> None:
    first, second = post(promise(10)), post(promise(10))
    assert (first.is_new, second.is_new) == (True, False)
    assert first.transaction_id == second.transaction_id
    assert balance(Account.PROMOTIONAL_CREDIT, "organization:1") == -10


def test_the_same_key_with_other_entries_is_an_error() -> None:
    post(promise(10))
    with pytest.raises(FactContradicts), transaction.atomic():
        post(promise(11))
    assert LedgerEntry.objects.count() == 2


def test_a_hot_account_is_folded_later_and_only_once() -> None:
    post(promise(10))
    post(promise(5, fact="another"))
    assert balance(Account.PROMOTIONS, "campaign:test") == 0
    assert (fold(), fold()) == (2, 0)
    assert balance(Account.PROMOTIONS, "campaign:test") == 15
    assert not LedgerUnfolded.objects.exists()


def test_credit_is_never_overdrawn() -> None:
    post(promise(10))
    with pytest.raises(IntegrityError, match="credit_is_never_overdrawn"), transaction.atomic():
        post(promise(-11, fact="too much", kind=PostingKind.EXPIRY))


def test_what_does_not_balance_is_not_posted() -> None:
    lopsided = Posting(fact_key="fact", kind=PostingKind.GRANT, entries=[Entry(Account.BANK, "operator", 1)])
    with pytest.raises(PostingUnbalanced):
        post(lopsided)


def test_an_adjustment_cannot_pass_for_usage() -> None:
    with pytest.raises(IntegrityError, match="usage_is_posted_by_settling_alone"), transaction.atomic():
        post(promise(10, kind=PostingKind.USAGE))


def test_a_reversal_happens_once() -> None:
    posted = post(promise(10))
    back = [
        Entry(Account.PROMOTIONS, "campaign:test", -10),
        Entry(Account.PROMOTIONAL_CREDIT, "organization:1", 10),
    ]
    reversal = Posting("reversal:1", PostingKind.REVERSAL, back, reverses=posted.transaction_id)
    post(reversal)
    with pytest.raises(IntegrityError), transaction.atomic():
        post(Posting("reversal:2", PostingKind.REVERSAL, back, reverses=posted.transaction_id))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE billing_ledgerentry SET amount = amount + 1",
        "DELETE FROM billing_ledgerentry",
        "UPDATE billing_ledgertransaction SET kind = 'adjustment'",
        "DELETE FROM billing_ledgertransaction",
        "UPDATE billing_lotentry SET amount = 1",
    ],
)
def test_the_ledger_is_append_only(statement: str) -> None:
    from tests.factories.money import make_payer

    make_payer(5)
    assert "append" in refused(statement).lower() or "refuse" in refused(statement).lower()


def test_the_database_itself_refuses_entries_that_do_not_balance() -> None:
    refused_by = refused(
        "SELECT * FROM billing_post(gen_random_uuid(), 'op', 'f', 'd', 'grant', now(), '', NULL, NULL,"
        "'USD', '["
        '{"code": "1020", "owner": "a", "amount": 5, "hot": false},'
        '{"code": "5400", "owner": "a", "amount": -4, "hot": true}]'
        "')"
    )
    assert "do not balance" in refused_by


@pytest.mark.django_db(transaction=True)
def test_entries_cannot_be_added_to_a_posted_transaction() -> None:
    posted = post(promise(10))
    account = LedgerAccount.objects.get(code=Account.PROMOTIONS)
    other = LedgerAccount.objects.create(code="1020", owner="operator", is_hot=False)
    with pytest.raises(DatabaseError, match="cannot be added"):
        LedgerEntry.objects.create(transaction_id=posted.transaction_id, account=other, amount=1)
    assert account.entries.count() == 1
    assert LedgerTransaction.objects.count() == 1
