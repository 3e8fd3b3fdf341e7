"""Records by both encoders: those that a map is learned from, and those that queries are judged by."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from orthant.collection.storage import tables
from orthant.collection.upgrade.maps import trained_drift
from orthant.collection.upgrade.running import encode_sample
from orthant.collection.upgrade.vocabulary import Words, encode_words, frequent_words, window_of
from orthant.encoders.progress import progress_bar
from orthant.kernels import bitmaps
from orthant.types import FloatArray, IdArray

if TYPE_CHECKING:
    from orthant.collection.storage.generation import Generation, SpaceState
    from orthant.collection.storage.store import Store
    from orthant.transforms.alignment.drift import DriftCompensator

__all__ = ["Sample", "Sampling", "Stopped"]

_TEXTS_READ, _TEXTS_AT_ONCE = 50_000, 2_048

Encoded = tuple[tuple[str, ...], FloatArray, FloatArray, tuple[str, ...]]


@dataclass(frozen=True)
class Sample:
    """Records encoded by both encoders.

    Attributes
    ----------
    ids : tuple of str
        Their ids.
    old, new : ndarray of shape (n, d_old) and (n, d_new), float32
        Stored vectors, and those of the new encoder.
    metric : str
        Score of the spaces.
    texts : tuple of str
        Their texts.
    words : Words, optional
        The words of the records by the new encoder, with their counts in the texts.
    trained : DriftCompensator, optional
        The map that the new encoder brings from its training.
    learned : int, optional
        How many of them a map is learned from, the first ones; None for all. The others only judge.
    records : int, optional
        How many there are in the space; None for those of the sample.
    mapped : dict
        What was mapped before, by way and seed.
    """

    ids: tuple[str, ...]
    old: FloatArray
    new: FloatArray
    metric: str = "cosine"
    texts: tuple[str, ...] = ()
    words: Words | None = None
    trained: DriftCompensator | None = None
    learned: int | None = None
    records: int | None = None
    mapped: dict[tuple[str, int], Any] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        """Return how many they are."""
        return len(self.ids)

    @property
    def pairs(self) -> int:
        """How many a map is learned from."""
        return len(self) if self.learned is None else self.learned

    def for_learning(self) -> Sample:
        """Return those that a map is learned from.

        Returns
        -------
        Sample
            Shares what was mapped before.
        """
        n = self.pairs
        words = None if self.words is None else self.words.rows(np.arange(n, dtype=np.int64))
        ids, old, new, texts = self.ids[:n], self.old[:n], self.new[:n], self.texts[:n]
        return replace(self, ids=ids, old=old, new=new, texts=texts, words=words)

    def with_judged(self, found: Encoded) -> Sample:
        """Return a sample with further records that only judge.

        Parameters
        ----------
        found : tuple
            Ids, old vectors, new vectors, texts.

        Returns
        -------
        Sample
            Without counts of words.
        """
        ids, old, new, texts = found
        return replace(
            self,
            ids=self.ids + ids,
            old=np.concatenate([self.old, old]),
            new=np.concatenate([self.new, new]),
            texts=self.texts + texts,
            words=None,
        )


class Stopped(Exception):
    """Ends the encoding of a sample between two batches."""


class Sampling:
    """Draws the records that a map is learned from, and encodes them once for a rehearsal and the run after it.

    They are a random part of the space and the same ones whatever is asked: a map that were learned from the records
    that are judged would be judged too well.

    Parameters
    ----------
    store : Store
        The opened collection.
    encoder : Encoder
        The new one.
    space : str
        The space that it is for.
    pairs : int
        Records that a map is learned from.
    seed : int
        Of the draw.
    """

    def __init__(self, store: Store, encoder: Any, space: str, *, pairs: int, seed: int) -> None:
        self._store, self._encoder, self._name = store, encoder, space
        self._pairs, self._seed = pairs, seed
        self._sample: Sample | None = None
        self._words: Words | None = None

    def trained(self) -> DriftCompensator | None:
        """Return the map from the old vectors that the new encoder brings from its training.

        Returns
        -------
        DriftCompensator or None
            None where it brings none.
        """
        return trained_drift(self._encoder, self._space(self._store.refreshed()).definition.fingerprint)

    def sample(
        self,
        wanted: Sequence[str] = (),
        *,
        words: bool,
        progress: bool = False,
        stop: Callable[[], bool] | None = None,
    ) -> Sample:
        """Return the records that a map is learned from, and behind them those that are asked for.

        Parameters
        ----------
        wanted : sequence of str, optional
            Ids of further records, which no map is learned from.
        words : bool
            Whether words of the stored texts are encoded as well.
        progress : bool, default False
            Show a bar.
        stop : callable, optional
            Asked before each batch.

        Returns
        -------
        Sample
            What was encoded before is not encoded again.

        Raises
        ------
        Stopped
            ``stop`` said so.
        """
        now = self._store.refreshed()
        space = self._space(now)
        if self._sample is None:
            rows = bitmaps.to_rows(now.live & bitmaps.resize(space.rows_bitmap(), len(now.live)))
            drawn = np.random.default_rng(self._seed).permutation(rows)[: self._pairs]
            found = self._encoded(space, drawn, progress=progress, stop=stop)
            ids, old, new, texts = found
            metric, trained = space.definition.metric, self.trained()
            self._sample = Sample(ids, old, new, metric, texts, None, trained, len(ids), len(rows))
        held = set(self._sample.ids)
        further = [key for key in dict.fromkeys(wanted) if key not in held]
        if further:
            with self._store.database.reading() as connection:
                rows = tables.find_rows(connection, self._store.database, further)
            known = bitmaps.to_rows(now.live & bitmaps.resize(space.rows_bitmap(), len(now.live)))
            found = self._encoded(space, rows[np.isin(rows, known)], progress=progress, stop=stop)
            if found[0]:
                self._sample = self._sample.with_judged(found)
        if words and self._sample.words is None:
            self._sample = replace(self._sample, words=self._encoded_words().of(self._sample.texts))
        return self._sample

    def _space(self, now: Generation) -> SpaceState:
        return now.spaces[now.upgrade.former if now.upgrade else self._name]

    def _encoded(self, space: SpaceState, rows: IdArray, *, progress: bool, stop: Callable[[], bool] | None) -> Encoded:
        """Ids, old and new vectors, and texts of the rows that have a text with a direction."""
        with self._store.database.reading() as connection:
            found = tables.fetch_records(connection, self._store.database, rows.tolist())
        kept: IdArray = np.array([row for row in rows.tolist() if row in found and found[row][1]], dtype=np.int64)
        texts = [str(found[row][1]) for row in kept.tolist()]

        def proceed() -> None:
            if stop is not None and stop():
                raise Stopped

        with progress_bar(len(kept), shown=progress, label="encoding the sample") as advance:
            new = encode_sample(self._encoder, texts, advance=advance, proceed=proceed)
        good = np.flatnonzero(new.any(axis=1))
        _, old = space.vectors_of(kept[good])
        ids = tuple(found[row][0] for row in kept[good].tolist())
        return ids, old, new[good], tuple(texts[i] for i in good.tolist())

    def _encoded_words(self) -> Words:
        """The words of all records by the new encoder, each by itself: most have some that a sample lacks."""
        if self._words is None:
            window = window_of(self._encoder)
            self._words = encode_words(self._encoder, frequent_words(self._texts(), window), window=window)
        return self._words

    def _texts(self) -> Iterator[str]:
        """Texts whose words stand for those of all records."""
        now = self._store.refreshed()
        rows = np.random.default_rng(self._seed).permutation(bitmaps.to_rows(now.live))[:_TEXTS_READ]
        for begin in range(0, len(rows), _TEXTS_AT_ONCE):
            with self._store.database.reading() as connection:
                part = rows[begin : begin + _TEXTS_AT_ONCE].tolist()
                found = tables.fetch_records(connection, self._store.database, part)
            yield from (str(record[1]) for record in found.values() if record[1])
