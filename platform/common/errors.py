"""The root of every error a person or a program can meet.

AppError                 what every refusal is: a stable code, a message for people, fields for machines
  (each app derives its own; relay/errors.py holds the API's family and its one translator)
"""

from collections.abc import Mapping
from typing import ClassVar


class AppError(Exception):
    """A refusal somebody can act on. Raising it means that nothing was charged unless a subclass says so."""

    code: ClassVar[str] = "error"
    http_status: ClassVar[int] = 400

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.headers: Mapping[str, str] = headers or {}
