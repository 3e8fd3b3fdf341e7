"""Stored fusion weights of legs that only some searches can run: in full, or without the legs that are not at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orthant.collection.space_encoders import SpaceEncoders
    from orthant.collection.storage.generation import Generation
    from orthant.collection.storage.settings.fusion import StoredFusion

__all__ = ["legs_at_hand", "stored_weights"]

_OPTIONAL = ("tokens", "sparse")


def legs_at_hand(now: Generation, encoders: SpaceEncoders) -> dict[str, str]:
    """Return the optional legs that a text can be searched by, with the space of each.

    Parameters
    ----------
    now : Generation
        What is searched.
    encoders : SpaceEncoders
        What encodes texts.

    Returns
    -------
    dict of str to str
        ``"tokens"`` and ``"sparse"``, each where there is one such space and its encoder is at hand.
    """
    late = [name for name, space in now.spaces.items() if space.definition.kind == "tokens"]
    spaces = {"tokens": late, "sparse": list(now.sparse)}
    return {leg: names[0] for leg, names in spaces.items() if len(names) == 1 and encoders.at_hand(names[0])}


def stored_weights(
    now: Generation,
    mode: str | None,
    space: str,
    texts: Sequence[str | None],
    settings: dict[str, Any],
    encoders: SpaceEncoders,
) -> tuple[StoredFusion | None, tuple[str, ...]]:
    """Return the stored fusion as a search can use it, and write its weights to the settings where it runs all legs.

    Parameters
    ----------
    now : Generation
        What is searched.
    mode, space : str
        What was asked.
    texts : sequence of (str or None)
        The queries' texts.
    settings : dict
        Of the search; ``weights`` is set where the stored ones turn further legs on.
    encoders : SpaceEncoders
        What encodes texts.

    Returns
    -------
    stored : StoredFusion or None
        Without the legs that this search cannot run; None where nothing is left.
    notes : tuple of str
        What to tell of legs that were left out.
    """
    stored = now.fusion
    further = [] if stored is None else [leg for leg in _OPTIONAL if stored.weights.get(leg)]
    if stored is None or not further:
        return stored, ()
    late = space in now.spaces and now.spaces[space].definition.kind == "tokens"
    fits = mode in (None, "hybrid") and settings.get("method") in (None, stored.method) and not late
    asked = fits and settings.get("weights") is None and all(text is not None for text in texts)
    able = legs_at_hand(now, encoders)
    missing = [leg for leg in further if leg not in able]
    if asked and not missing:
        settings["weights"] = dict(stored.weights)
        return stored, ()
    kept = {leg: weight for leg, weight in stored.weights.items() if leg not in _OPTIONAL}
    rest = replace(stored, weights=kept) if sum(kept.values()) > 0 else None
    if not asked:
        return rest, ()
    legs = " and ".join(missing)
    return rest, (f"the stored fusion weights count {legs}, without an encoder at hand, so that was left out",)
