"""Logging of a connector that runs as a program. A library that is only imported configures nothing."""

import logging
import sys

from iot2mqtt_sdk.masking import Mask, MaskingFormatter

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
LAYOUT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

_formatter = MaskingFormatter(LAYOUT)


def configure(level: str) -> None:
    """Log to stderr, without secrets; an unknown level is INFO, with a warning (clause I2M-ENV-12).

    Args:
        level: LOG_LEVEL, in any letter case.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter)
    known = level.strip().upper()
    logging.basicConfig(handlers=[handler], level=known if known in LEVELS else "INFO")
    if known not in LEVELS:
        names = ", ".join(LEVELS)
        logging.getLogger("iot2mqtt").warning("LOG_LEVEL=%s is unknown, so INFO is used; known are %s", level, names)


def hide(mask: Mask) -> None:
    """Keep secrets out of the log from now on (clause I2M-ENV-13)."""
    _formatter.mask = mask
