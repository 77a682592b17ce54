"""Mail of an embedded installation: one readable file per message, its path in the log."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import structlog
from django.conf import settings
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend

log = structlog.get_logger(__name__)


class FileBackend(BaseEmailBackend):
    """Writes each message to EMAIL_FILE_PATH as `<time>-<recipient>.eml`."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        for message in email_messages:
            log.info("mail_written", path=str(self._write(message)))
        return len(email_messages)

    def _write(self, message: EmailMessage) -> Path:
        folder = Path(settings.EMAIL_FILE_PATH)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        recipient = re.sub(r"[^A-Za-z0-9@.+_-]", "_", message.to[0] if message.to else "nobody")
        path = folder / f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}-{recipient}.eml"
        path.write_bytes(message.message().as_bytes())
        return path
