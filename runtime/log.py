"""The runtime's log: structlog over the standard library's logger "understudy", which the host configures."""

import logging
from typing import Any

import structlog

log: Any = structlog.wrap_logger(
    logging.getLogger("understudy"),
    processors=[
        structlog.stdlib.filter_by_level,
        structlog.processors.format_exc_info,
        structlog.processors.KeyValueRenderer(key_order=["event"]),
    ],
)
"""Logs ids, addresses and types; never the content of messages."""
