"""One line per event: readable on a terminal, JSON otherwise; no secrets in either."""

import sys
from typing import Any

import structlog

from common.redaction import redact_event

SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
    redact_event,
]


def configure_logging(*, pretty: bool) -> dict[str, Any]:
    """Set structlog up; the returned dictionary is Django's LOGGING."""
    structlog.configure(
        processors=[*SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    last = structlog.dev.ConsoleRenderer(colors=False) if pretty else structlog.processors.JSONRenderer()
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "lines": {
                "()": structlog.stdlib.ProcessorFormatter,
                "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
                "foreign_pre_chain": SHARED,
            }
        },
        "handlers": {
            "stream": {"class": "logging.StreamHandler", "stream": sys.stderr, "formatter": "lines"}
        },
        "root": {"handlers": ["stream"], "level": "INFO"},
        "loggers": {
            "httpx": {"level": "WARNING"},
            "stripe": {"level": "WARNING"},
            "uvicorn.error": {"level": "INFO"},
            "celery.app.trace": {"level": "WARNING"},
            "celery.beat": {"level": "WARNING"},
            "celery.worker.strategy": {"level": "WARNING"},
        },
    }
