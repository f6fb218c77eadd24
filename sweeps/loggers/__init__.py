"""Telling TensorBoard and MLflow what becomes of runs; neither can end or delay a sweep."""

from sweeps.loggers.interface import RunLogger
from sweeps.loggers.opening import NO_LOGGER, check_loggers, open_loggers

__all__ = ["NO_LOGGER", "RunLogger", "check_loggers", "open_loggers"]
