"""What became of an actor that is gone."""

from __future__ import annotations

from ray.exceptions import ActorUnavailableError, OutOfMemoryError, RayError

from sweeps.storage.redaction import redacted


def loss(error: RayError) -> str:
    """What became of an actor, in one line; Ray's own text tells of a dozen identifiers."""
    if isinstance(error, ActorUnavailableError):
        return "its actor cannot be reached"
    if isinstance(error, OutOfMemoryError):
        return "its actor was ended because its machine had no memory left"
    text = redacted(" ".join(str(error).split()))
    for sign, meaning in _SIGNS.items():
        if sign in text:
            return meaning
    return f"its actor died: {text[:300]}"


_SIGNS = {
    "node was terminated": "its machine is gone",
    "node is dead": "its machine is gone",
    "its node has died": "its machine is gone",
    "memory monitor": "its actor was ended because its machine had no memory left",
    "running low on memory": "its actor was ended because its machine had no memory left",
    "killed by SIGKILL": "its actor was killed",
    "End of file": "its actor was killed",
}
