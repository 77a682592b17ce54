"""The books check: everything that must be equal, proved from primary rows in one consistent snapshot."""

from billing.books.nightly import ask_for_check, check_books, check_books_if_due
from billing.books.verify import RULES, SHOWN, verify_books

__all__ = ["RULES", "SHOWN", "ask_for_check", "check_books", "check_books_if_due", "verify_books"]
