"""Which e-mail addresses reach the same person. Pure."""

GMAIL = frozenset({"gmail.com", "googlemail.com"})


def mailbox(email: str) -> str:
    """Where the mail goes: without what stands behind a plus, and at Gmail without dots."""
    name, _, domain = email.strip().lower().rpartition("@")
    name = name.partition("+")[0]
    if domain in GMAIL:
        return name.replace(".", "") + "@gmail.com"
    return f"{name}@{domain}"
