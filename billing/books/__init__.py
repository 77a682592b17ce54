"""The books check: everything that must be equal, proved from primary rows in one consistent snapshot."""

from billing.books.verify import RULES, SHOWN, verify_books

__all__ = ["RULES", "SHOWN", "verify_books"]
