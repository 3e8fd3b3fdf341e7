"""Encoders by name."""

from __future__ import annotations

from typing import Any

__all__ = ["encoder_names", "load_encoder"]


def load_encoder(spec: Any) -> Any:
    """Return an encoder from its name, or the object itself.

    Parameters
    ----------
    spec : str or Encoder
        ``"static"``, or an encoder.

    Returns
    -------
    Encoder
        Ready to use.
    """
    if spec == "static":
        from orthant.encoders.static import StaticEncoder

        return StaticEncoder.load()
    return spec


def encoder_names() -> tuple[str, ...]:
    """Return the names that can be loaded.

    Returns
    -------
    tuple of str
        The names.
    """
    return ("static",)
