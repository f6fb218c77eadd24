"""Amounts in words."""

from __future__ import annotations

_UNITS = ("bytes", "KB", "MB", "GB", "TB", "PB")


def amount(n: float, of: str) -> str:
    """Such as `1 GPU`, `0.5 GPUs` or `16 CPUs`."""
    return f"{n:g} {of}" if n == 1 else f"{n:g} {of}s"


def size(n_bytes: float) -> str:
    """Bytes as `512 bytes`, `18.8 MB` or `1.2 TB`, in powers of 1000."""
    unit = 0
    while n_bytes >= 999.5 and unit < len(_UNITS) - 1:
        n_bytes /= 1000
        unit += 1
    decimals = 1 if unit and n_bytes < 99.95 else 0
    return f"{n_bytes:.{decimals}f} {_UNITS[unit]}"
