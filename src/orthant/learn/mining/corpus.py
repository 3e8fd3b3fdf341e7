"""The texts that negatives are taken from: ids, which texts are the same, which belong to one group."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from orthant.errors import InputError, NotFoundError, message
from orthant.learn.conversion.texts import check_filled, normalised_text
from orthant.types import IdArray
from orthant.validate import as_ids, as_texts

__all__ = ["MiningCorpus"]


class MiningCorpus:
    """Texts by the ids of an index, with numbers for equal texts and for groups.

    Parameters
    ----------
    corpus : mapping of int to str, or sequence of str
        Text by id; a sequence has the ids 0, 1, 2 and so on. No text is blank.
    groups : mapping of int to hashable, or sequence, optional
        Group of each id, such as the document a passage comes from; ids without one belong to none.

    Raises
    ------
    InputError
        No text, a blank one, ids that are not integers, or groups of another length.

    Examples
    --------
    >>> corpus = MiningCorpus(["A lamp.", "a  LAMP.", "A boat."])
    >>> corpus.keys_of(np.array([0, 1, 2])).tolist()
    [0, 0, 1]
    """

    def __init__(
        self,
        corpus: Mapping[int, str] | Sequence[str],
        groups: Mapping[int, Hashable] | Sequence[Hashable] | None = None,
    ) -> None:
        listed = as_texts(corpus.values() if isinstance(corpus, Mapping) else corpus, name="corpus")
        if not listed:
            raise InputError(message("an empty corpus", "texts to take negatives from", "pass the texts of the index"))
        check_filled(listed, name="corpus")
        ids = as_ids(list(corpus), name="corpus ids") if isinstance(corpus, Mapping) else np.arange(len(listed))
        order = np.argsort(ids)
        self.ids: IdArray = ids[order].astype(np.int64)
        self.texts: dict[int, str] = dict(zip(ids.tolist(), listed, strict=True))
        self._numbers: dict[str, int] = {}
        keys = [self._numbers.setdefault(normalised_text(text), len(self._numbers)) for text in listed]
        self._keys = np.array(keys, dtype=np.int64)[order]
        self._groups = self._numbered(groups, ids)[order]

    def _numbered(self, groups: Mapping[int, Hashable] | Sequence[Hashable] | None, ids: IdArray) -> IdArray:
        if groups is None:
            return np.full(len(ids), -1, dtype=np.int64)
        if not isinstance(groups, Mapping):
            if len(groups) != len(ids):
                raise InputError(message(f"{len(groups)} groups for {len(ids)} texts", "one per text", "align them"))
            groups = dict(zip(ids.tolist(), groups, strict=True))
        numbers: dict[Hashable, int] = {}
        found = (groups.get(i) for i in ids.tolist())
        return np.array([-1 if g is None else numbers.setdefault(g, len(numbers)) for g in found], dtype=np.int64)

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.ids)

    def _places(self, ids: IdArray) -> IdArray:
        places = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        return np.where(self.ids[places] == ids, places, -1)

    def check(self, ids: IdArray, *, what: str) -> None:
        """Refuse ids that have no text.

        Parameters
        ----------
        ids : ndarray of shape (m,), int64
            Ids.
        what : str
            Where they come from, for the error.

        Raises
        ------
        NotFoundError
            Some are missing; the first are listed.
        """
        missing = np.unique(ids[self._places(ids) < 0])
        if len(missing):
            named = ", ".join(map(str, missing[:5].tolist())) + (" ..." if len(missing) > 5 else "")
            raise NotFoundError(
                message(
                    f"{len(missing)} {what} without a text: {named}",
                    "ids of the corpus",
                    "complete the corpus or drop them",
                )
            )

    def keys_of(self, ids: IdArray) -> IdArray:
        """Return the number of each id's text: equal for texts that differ in case or white space only.

        Parameters
        ----------
        ids : ndarray of any shape, int64
            Ids of the corpus; -1 gives -1.

        Returns
        -------
        ndarray of the same shape, int64
            Numbers of texts.
        """
        places = self._places(ids)
        return np.where(places < 0, -1, self._keys[places])

    def groups_of(self, ids: IdArray) -> IdArray:
        """Return the number of each id's group, -1 where it has none.

        Parameters
        ----------
        ids : ndarray of any shape, int64
            Ids of the corpus.

        Returns
        -------
        ndarray of the same shape, int64
            Numbers of groups.
        """
        places = self._places(ids)
        return np.where(places < 0, -1, self._groups[places])

    def key_of_text(self, text: str) -> int:
        """Return the number of a text, or -2 where no text of the corpus equals it.

        Parameters
        ----------
        text : str
            Any text.

        Returns
        -------
        int
            As ``keys_of`` gives it.
        """
        return self._numbers.get(normalised_text(text), -2)
