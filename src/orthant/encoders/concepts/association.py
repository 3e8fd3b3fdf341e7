"""Explicit semantic analysis: what a text has in common with the articles that define concepts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from orthant.artifact import read_artifact, write_artifact
from orthant.encoders.concepts.rows import check_concepts, joined_names, split_names, strongest
from orthant.encoders.fingerprint import Fingerprint, digest_tensors
from orthant.errors import InputError, StoreCorruptedError, message
from orthant.types import Role
from orthant.validate import as_texts, check_choice, check_count

__all__ = ["ExplicitSemanticAnalysis"]

KIND = "encoder.explicit"
_WORD = re.compile(r"[^\W_]+")


class ExplicitSemanticAnalysis:
    """Represent texts by named concepts: how strongly their words are associated with the article of each.

    Nothing is trained: an article per concept is enough, such as pages of an encyclopedia, the documents under each
    heading of a catalogue, or descriptions of skills. Where it is known which texts belong to which others,
    ``orthant.learn.train_concepts`` learns the map instead. Use it in a space of its own, whose hits can be explained
    (``hit.explain()``).

    Parameters
    ----------
    articles : mapping of str to str, or to sequence of str
        By name of the concept, at least two. Too short an article knows few words, and its concept is rarely found.
    keep : int, default 32
        Concepts of a text. Fewer are quicker and easier to read; too few lose what it says beside its main point.

    Attributes
    ----------
    vocabulary : list of str
        Names of the concepts, in the order given.
    dim : int
        Number of concepts.
    fingerprint : str
        From names, words and weights.

    Raises
    ------
    InputError
        Fewer than two concepts, a name twice, an article without a word, or ``keep`` below 1.

    Notes
    -----
    With counts n, m concepts, and d(w) articles that have word w, a text has words of weight
    ``(1 + log n(w)) log((1 + m) / d(w))`` and an article the same, at unit length; concept c of a text has their sum of
    products over the words. The largest are kept, at unit length, so the dot product of two texts is the cosine of
    their concepts. Cost: the postings of the text's words.

    References
    ----------
    Gabrilovich, Markovitch: Computing semantic relatedness using Wikipedia-based explicit semantic analysis, IJCAI
    2007, section 2. Bogdanova, Yazdani: SESA. arXiv 1708.03246.

    Examples
    --------
    >>> sea = ExplicitSemanticAnalysis({"ships": "a ship sails the sea", "fish": "a fish swims in the sea"})
    >>> row = sea.encode_sparse(["the captain of a ship"])
    >>> sea.vocabulary[row.indices[row.data.argmax()]]
    'ships'
    """

    def __init__(self, articles: Mapping[str, str | Sequence[str]], *, keep: int = 32) -> None:
        if not isinstance(articles, Mapping):
            given = f"articles of type {type(articles).__name__}"
            raise InputError(message(given, "a mapping of concepts to texts", "write {'ships': 'A ship is ...'}"))
        concepts = check_concepts(list(articles))
        counts = [_counts([text] if isinstance(text, str) else text) for text in articles.values()]
        blank = next((name for name, found in zip(concepts, counts, strict=True) if not found), None)
        if blank is not None:
            raise InputError(message(f"no word in the article of {blank!r}", "some", "write one, or drop the concept"))
        spread = Counter(word for found in counts for word in found)
        words = sorted(spread)
        rarity = np.log((1 + len(concepts)) / np.array([spread[word] for word in words])).astype(np.float32)
        table = _weighted(counts, {word: i for i, word in enumerate(words)}, rarity)
        self._set(concepts, words, rarity, _unit(table).T.tocsr(), keep)

    def _set(self, concepts: list[str], words: list[str], rarity: Any, table: Any, keep: int) -> None:
        self.vocabulary = concepts
        self.dim = len(concepts)
        self.keep = check_count(keep, name="keep")
        self._words = {word: i for i, word in enumerate(words)}
        self._rarity = rarity
        # Words by concepts.
        self._table = table
        self._fingerprint: str | None = None

    @property
    def fingerprint(self) -> str:
        """Identity of the weights."""
        if self._fingerprint is None:
            made = Fingerprint(
                name="explicit-semantic-analysis",
                weight_hash=digest_tensors(self._arrays()),
                pooling=f"concepts:{self.keep}",
                normalization="l2",
                dim=self.dim,
            )
            self._fingerprint = str(made)
        return self._fingerprint

    def encode_sparse(self, items: Sequence[str], *, role: Role = "document", batch_size: int = 1024) -> Any:
        """Return the concepts of each text.

        Parameters
        ----------
        items : sequence of str
            Texts.
        role : {"query", "document"}, default "document"
            Accepted for the protocol; both are treated alike.
        batch_size : int, default 1024
            Texts at a time, which bounds memory to ``batch_size * dim`` values.

        Returns
        -------
        scipy.sparse.csr_matrix of shape (n, dim), float32
            Of unit length; a text without a known word has no concept.

        Raises
        ------
        InputError
            An item that is no text, or a wrong role.
        """
        from scipy.sparse import csr_matrix, vstack

        texts = as_texts(items, name="items")
        check_choice(role, ("query", "document"), name="role")
        check_count(batch_size, name="batch_size")
        parts = []
        for start in range(0, len(texts), batch_size):
            counts = [_counts([text]) for text in texts[start : start + batch_size]]
            rows = _unit(_weighted(counts, self._words, self._rarity)) @ self._table
            parts.append(strongest(rows.toarray(), self.keep))
        return vstack(parts, format="csr") if parts else csr_matrix((0, self.dim), dtype=np.float32)

    def _arrays(self) -> dict[str, Any]:
        return {
            "concepts": joined_names(self.vocabulary),
            "words": joined_names(list(self._words)),
            "rarity": self._rarity,
            "indptr": self._table.indptr.astype(np.int64),
            "indices": self._table.indices.astype(np.int32),
            "weights": self._table.data.astype(np.float32),
        }

    def save(self, path: str | Path) -> None:
        """Write concepts and words to a folder.

        Parameters
        ----------
        path : str or Path
            Created if missing.
        """
        write_artifact(path, kind=KIND, config={"keep": self.keep}, arrays=self._arrays())

    @classmethod
    def load(cls, path: str | Path) -> ExplicitSemanticAnalysis:
        """Read an encoder from a folder.

        Parameters
        ----------
        path : str or Path
            What ``save`` wrote.

        Returns
        -------
        ExplicitSemanticAnalysis
            Equal to the saved one.

        Raises
        ------
        NotFoundError
            No such folder.
        StoreCorruptedError
            Damaged files.
        """
        from scipy.sparse import csr_matrix

        arrays, config = read_artifact(path, kind=KIND)
        out = cls.__new__(cls)
        try:
            concepts, words = split_names(arrays["concepts"]), split_names(arrays["words"])
            parts = (arrays["weights"], arrays["indices"], arrays["indptr"])
            table = csr_matrix(parts, shape=(len(words), len(concepts)))
            out._set(concepts, words, arrays["rarity"], table, config["keep"])
        except (KeyError, ValueError) as error:
            given = f"an encoder at {path} with parts missing ({error})"
            raise StoreCorruptedError(message(given, "what save wrote", "restore the folder")) from error
        return out


def _counts(texts: Sequence[str]) -> Counter[str]:
    return Counter(word for text in as_texts(texts, name="articles") for word in _WORD.findall(text.lower()))


def _weighted(counts: Sequence[Counter[str]], words: Mapping[str, int], rarity: Any) -> Any:
    """Rows of weighted words."""
    from scipy.sparse import csr_matrix

    known = [[(words[word], n) for word, n in found.items() if word in words] for found in counts]
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in known])])
    columns = np.array([column for row in known for column, _ in row], dtype=np.int32)
    numbers = np.array([n for row in known for _, n in row], dtype=np.float32)
    weights = (1 + np.log(np.maximum(numbers, 1))) * rarity[columns]
    return csr_matrix((weights.astype(np.float32), columns, indptr), shape=(len(known), len(words)))


def _unit(rows: Any) -> Any:
    from scipy.sparse import diags_array

    norms = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
    return (diags_array(1 / np.where(norms > 0, norms, 1.0)) @ rows).tocsr().astype(np.float32)
