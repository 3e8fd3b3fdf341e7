"""Bringing old vectors to the new space without their texts, and scoring them there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from orthant.errors import DimensionError, InputError, message, quiet
from orthant.kernels.distances import norms
from orthant.types import FloatArray

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orthant.collection.upgrade.vocabulary import Words

__all__ = ["JOINT_WEIGHT", "MAPS", "WORDED", "SpaceBridge", "Using", "fit_bridge"]

Using = Literal["auto", "joint-words", "words", "joint", "low-rank", "procrustes", "drift", "relative", "reencode"]

MAPS = ("joint-words", "words", "joint", "low-rank", "procrustes", "relative", "drift")
"""Ways that encode no record again, the one that is tried first in front."""

JOINT_WEIGHT = 0.5
"""Share of the old model's own scores in joint ways; chosen for ``"joint"``, on sets that judge no figure of the
documentation."""

WORDED = ("joint-words", "words")
"""Ways that read the words of stored texts."""

_LEAST_PAIRS = 16


def _unit(X: FloatArray) -> FloatArray:
    lengths = norms(X)
    return np.ascontiguousarray(X / np.where(lengths > 0, lengths, 1.0)[:, None], dtype=np.float32)


@dataclass(frozen=True)
class SpaceBridge:
    """Old vectors as the new encoder's queries see them.

    Attributes
    ----------
    map : SpaceMap
        From old vectors to new ones.
    weight : float
        Share of the old model's own scores, 0 for none.
    scales : tuple of float
        Spread of mapped and of old scores; the two are divided by it before they are added.
    window : int, optional
        How many words of a text the map looks at; None for all.
    """

    map: Any
    weight: float = 0.0
    scales: tuple[float, float] = (1.0, 1.0)
    window: int | None = None

    @property
    def reads_texts(self) -> bool:
        """Whether the map looks at the words of texts."""
        return hasattr(self.map, "vocabulary_")

    def documents(self, X: FloatArray, texts: Sequence[str] | None = None, *, counts: Any = None) -> FloatArray:
        """Return old vectors as they are stored for the new encoder's queries.

        Parameters
        ----------
        X : ndarray of shape (n, d_old), float32
            Old vectors.
        texts : sequence of str, length n, optional
            Their texts, for a map that looks at them.
        counts : sparse matrix of shape (n, V), optional
            In place of texts: how often each has the words of the map.

        Returns
        -------
        ndarray of shape (n, d), float32
            d is that of the new space, and d_old more where the old model's scores take part.
        """
        if texts is not None and self.reads_texts:
            from orthant.collection.upgrade.vocabulary import count_words

            counts = count_words(texts, self.map.vocabulary_, self.window)
        near = _unit(self.map.transform(X, words=counts) if self.reads_texts else self.map.transform(X))
        return near if not self.weight else np.concatenate([near, _unit(X)], axis=1)

    def queries(self, fresh: FloatArray, former: FloatArray | None) -> FloatArray:
        """Return queries that fit :meth:`documents`.

        Parameters
        ----------
        fresh : ndarray of shape (q, d_new), float32
            By the new encoder.
        former : ndarray of shape (q, d_old), float32, or None
            By the old one; None leaves its scores out.

        Returns
        -------
        ndarray of shape (q, d), float32
            Weighted parts.
        """
        return weighted_queries(fresh, former, self.weight, self.scales)


def weighted_queries(
    fresh: FloatArray, former: FloatArray | None, weight: float, scales: tuple[float, float]
) -> FloatArray:
    """Return queries of two encoders as one, so that a product is a weighted sum of the two cosines.

    Parameters
    ----------
    fresh : ndarray of shape (q, d_new), float32
        By the new encoder.
    former : ndarray of shape (q, d_old), float32, or None
        By the old one.
    weight : float
        Share of the old encoder's scores.
    scales : tuple of float
        What either score is divided by.

    Returns
    -------
    ndarray of shape (q, d_new + d_old), float32
        The two parts; ``fresh`` as it is without a weight or a second part.
    """
    if not weight or former is None:
        return fresh
    parts = [_unit(fresh) * ((1 - weight) / scales[0]), _unit(former) * (weight / scales[1])]
    return np.ascontiguousarray(np.concatenate(parts, axis=1), dtype=np.float32)


def fit_bridge(
    using: str,
    old: FloatArray,
    new: FloatArray,
    *,
    words: Words | None = None,
    source: str | None = None,
    target: str | None = None,
) -> SpaceBridge:
    """Learn how old vectors lie in the new space, from texts encoded by both.

    Parameters
    ----------
    using : {"joint-words", "words", "joint", "low-rank", "procrustes", "relative", "drift"}
        The way.
    old : ndarray of shape (n, d_old), float32
        Old vectors of some records.
    new : ndarray of shape (n, d_new), float32
        The same records by the new encoder.
    words : Words, optional
        Words of the records with their counts; needed by ``"words"`` and ``"joint-words"``.
    source, target : str, optional
        Fingerprints of the encoders.

    Returns
    -------
    SpaceBridge
        A fitted one.

    Raises
    ------
    InputError
        Fewer than 16 pairs, or no words where the way reads them.
    DimensionError
        ``"drift"`` between spaces of different width.
    """
    if len(old) < _LEAST_PAIRS:
        raise InputError(
            message(
                f"{len(old)} records with text and vector to learn a map from",
                f"at least {_LEAST_PAIRS}, better some thousands",
                "raise pairs=, mend an encoder that gives zeros, or use using='reencode', which needs no map",
            )
        )
    if using == "drift" and old.shape[1] != new.shape[1]:
        raise DimensionError(
            message(
                f"using='drift' from {old.shape[1]} to {new.shape[1]} values",
                "a newer state of the same model, of the same width",
                "use 'joint', 'low-rank' or 'procrustes'",
            )
        )
    fitted = make_map(using, source=source, target=target)
    if using not in WORDED:
        # How many pairs there are was decided by the upgrade, and its rehearsal measures what they are worth.
        with quiet():
            bridge = SpaceBridge(fitted.fit(old, new))
    elif words is None or not len(words.vocabulary):
        given = f"using={using!r} where no word of the texts has a vector"
        raise InputError(message(given, "texts of words", "use 'joint' or 'low-rank'"))
    else:
        taught = {"words": words.counts, "word_vectors": words.vectors, "vocabulary": words.vocabulary}
        bridge = SpaceBridge(fitted.fit(old, new, **taught), window=words.window)
    if not using.startswith("joint"):
        return bridge
    # How far scores spread, by what pairs of different records score.
    near = bridge.documents(old, counts=None if words is None else words.counts)
    unit_new, unit_old = _unit(new), _unit(old)
    shift = len(old) // 2
    mapped = np.einsum("ij,ij->i", unit_new, np.roll(near, shift, axis=0)).std()
    own = np.einsum("ij,ij->i", unit_old, np.roll(unit_old, shift, axis=0)).std()
    return replace(bridge, weight=JOINT_WEIGHT, scales=(max(float(mapped), 1e-6), max(float(own), 1e-6)))


def make_map(using: str, *, source: str | None = None, target: str | None = None) -> Any:
    """Return the unfitted map of a way.

    Parameters
    ----------
    using : str
        One of ``MAPS``.
    source, target : str, optional
        Fingerprints of the encoders.

    Returns
    -------
    SpaceMap
        From old vectors to new ones.
    """
    from orthant import transforms

    ends: dict[str, Any] = {"source": source, "target": target}
    if using == "procrustes":
        return transforms.Procrustes(**ends)
    if using == "drift":
        return transforms.DriftCompensator(**ends)
    if using == "relative":
        return transforms.RelativeRepresentation(space="target", center=True, **ends)
    return transforms.WordedMap(**ends) if using in WORDED else transforms.LowRankMap(**ends)


def trained_drift(encoder: Any, former: str | None) -> Any | None:
    """Return the map from an older encoder's vectors that an encoder brings from its training.

    Parameters
    ----------
    encoder : Encoder
        The new one; with ``follows`` where it was trained to succeed others.
    former : str, optional
        Fingerprint of the old one.

    Returns
    -------
    DriftCompensator or None
        From old vectors to new ones; None where the training knows nothing of the old encoder.
    """
    from orthant.transforms import DriftCompensator

    moved = getattr(encoder, "follows", {}).get(former)
    if moved is None:
        return None
    # A compensator takes its drift off; vectors of the old encoder have to move the way that the model went.
    out = DriftCompensator(source=former, target=encoder.fingerprint)
    out.drift_, out.explained_share_ = -np.asarray(moved, dtype=np.float32), None
    out.n_features_in_ = out.n_features_out_ = len(out.drift_)
    return out


def load_map(using: str, folder: Path) -> Any:
    """Read the map of a way back.

    Parameters
    ----------
    using : str
        The way.
    folder : Path
        What its ``save`` wrote.

    Returns
    -------
    SpaceMap
        A fitted one.
    """
    return type(make_map(using)).load(folder)
