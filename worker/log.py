"""
Logging: structlog and the standard library through one formatter.

Event names are static, facts are fields, identifiers instead of objects. What a door binds (run_id, audience_id, …)
is merged into every line, Celery's own lines included.
"""

import logging
import re
import sys

import structlog
from structlog.typing import EventDict, Processor

# Foreign loggers that repeat what our own lines say.
QUIET = (
    *("celery.app.trace", "celery.worker.strategy", "clickhouse_connect", "httpx", "urllib3", "kombu", "amqp"),
    *("alembic.runtime.migration", "uvicorn.access"),  # paths hold ids and tokens
)

ADDRESS = re.compile(
    r"""\b[a-z][a-z0-9+.]*://[^\s'\",)]+"""
    r"""|host='[^']*', port=\d+|host '[^']*'|server at "[^"]*"(, port \d+)?|connecting to [^\s]+:\d+""",
    re.IGNORECASE,
)
# What Postgres tells of the row it refused, and pydantic of the value.
BOUND = re.compile(r"DETAIL:.*?(?=\n\n|\n\[SQL|\Z)|(?<=input_value=).*?(?=, input_type=)", re.DOTALL)


def configure(fmt: str, level: str) -> None:
    """
    Send every line of this process to standard error through one handler.

    :param fmt: ``json`` for one object a line, ``console`` for people
    :param level: least level, a name of :mod:`logging`
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_last(fmt)],
        )
    )
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(level)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.root.level))


def get(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of one module."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def bound(*names: str) -> dict[str, object]:
    """Return what every line says now of these names, in their order."""
    said = structlog.contextvars.get_contextvars()
    return {name: said[name] for name in names if name in said}


def _without_values(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Strike hosts, URLs and values from what libraries say: passwords and personal data, and nobody's business."""
    for said in ("event", "exception"):
        if said in event:
            event[said] = BOUND.sub("<value>", ADDRESS.sub("<address>", str(event[said])))
    return event


def _last(fmt: str) -> list[Processor]:
    """Return what turns an event into text."""
    if fmt == "console":
        # The usual one shows what every variable held.
        plain = structlog.dev.plain_traceback
        return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
    return [structlog.processors.format_exc_info, _without_values, structlog.processors.JSONRenderer()]
