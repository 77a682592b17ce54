"""Double entry: the chart of accounts, what each business fact posts, and the one way to post it."""

from billing.ledger.chart import Account, Entry, Owner
from billing.ledger.posting import FOLD_AT_ONCE, FactContradicts, Posted, Posting, fold, post

__all__ = [
    "FOLD_AT_ONCE",
    "Account",
    "Entry",
    "FactContradicts",
    "Owner",
    "Posted",
    "Posting",
    "fold",
    "post",
]
