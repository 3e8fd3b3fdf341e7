"""Arms for the tasks: one vector per text, several vectors per text, and one comparison of all that are given."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from orthant.datasets.kinds import RetrievalSet
from orthant.errors import DimensionError, InputError, message
from orthant.evaluation.dense import as_documents
from orthant.evaluation.retrieval import RetrievalReport, evaluate
from orthant.kernels.multivector.maxsim import maxsim_scores
from orthant.types import Encoder, FloatArray, Ragged, Role, TokenEncoder
from orthant.validate import as_ragged, as_texts, as_vectors, check_count

__all__ = ["LimitReport", "MultiVectorSearcher", "WordVectors", "compare_arms"]

_METRICS = ("recall@2", "recall@10", "recall@20", "recall@100")
_WORD = re.compile(r"\w+")
_BLOCK = 512


class WordVectors:
    """Make a token encoder of any encoder: every word of a text is encoded alone.

    Use it to see what several vectors per text would bring before training a model for them. It knows no context, so a
    trained token encoder is better wherever the order of words matters.

    Parameters
    ----------
    encoder : Encoder
        Encodes single words. Words whose vector is zero are left out.

    Examples
    --------
    >>> import numpy as np
    >>> class Letters:
    ...     dim, fingerprint, max_tokens = 26, "letters", None
    ...     def encode(self, items, *, role="document", batch_size=64, progress=False):
    ...         return np.array([[s.count(chr(97 + i)) for i in range(26)] for s in items], np.float32)
    >>> WordVectors(Letters()).encode_tokens(["a bad cab"]).values.shape
    (3, 26)
    """

    max_tokens: int | None = None

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.dim = encoder.dim
        self.fingerprint = f"words:{encoder.fingerprint}"
        self._places: dict[Role, dict[str, int]] = {"query": {}, "document": {}}
        self._vectors: dict[Role, FloatArray] = {
            role: np.zeros((0, encoder.dim), np.float32) for role in ("query", "document")
        }

    def encode_tokens(self, items: Sequence[str], *, role: Role = "document", batch_size: int = 64) -> Ragged:
        """Return one unit vector per word.

        Parameters
        ----------
        items : sequence of str
            Texts.
        role : {"query", "document"}, default "document"
            What they are.
        batch_size : int, default 64
            Words encoded at once.

        Returns
        -------
        Ragged
            Rows of shape (words, dim), float32.

        Raises
        ------
        InputError
            Items that are not texts, or a text without a word that the encoder knows.

        Notes
        -----
        A distinct word is encoded once, and kept.
        """
        texts = as_texts(items, name="items")
        words = [_WORD.findall(text.lower()) for text in texts]
        self._learn(sorted({word for held in words for word in held}), role, batch_size)
        place, vectors = self._places[role], self._vectors[role]
        rows = [[place[word] for word in held if place[word] >= 0] for held in words]
        empty = next((text for text, held in zip(texts, rows, strict=True) if not held), None)
        if empty is not None:
            raise InputError(message(f"a text without a known word: {empty[:60]!r}", "a word", "leave the text out"))
        offsets = np.cumsum([0, *(len(held) for held in rows)]).astype(np.int64)
        flat = np.array([row for held in rows for row in held], dtype=np.int64)
        return Ragged(np.ascontiguousarray(vectors[flat]), offsets)

    def _learn(self, words: list[str], role: Role, batch_size: int) -> None:
        place = self._places[role]
        new = [word for word in words if word not in place]
        if not new:
            return
        found = as_vectors(
            self.encoder.encode(new, role=role, batch_size=batch_size), dim=self.dim, name="word vectors"
        )
        lengths = np.linalg.norm(found, axis=1)
        known = lengths > 0
        places = np.where(known, len(self._vectors[role]) + np.cumsum(known) - 1, -1)
        place.update(zip(new, places.tolist(), strict=True))
        self._vectors[role] = np.vstack([self._vectors[role], found[known] / lengths[known, None]])


class MultiVectorSearcher:
    """Search by several vectors per text, exactly: for each vector of the query its best match, summed.

    The plain reference for late interaction. It keeps every vector of every document, so it suits thousands of
    documents, not millions.

    Parameters
    ----------
    encoder : TokenEncoder
        Such as `orthant.encoders.LateInteractionEncoder`, or `WordVectors` of any encoder.
    documents : mapping of str to str, or sequence of records
        As for `orthant.evaluation.DenseSearcher`.
    batch_size : int, default 64
        Texts encoded at once.

    Raises
    ------
    InputError
        No documents.

    Notes
    -----
    Memory: 4 d bytes per token of the documents. Cost per query: its tokens times all tokens times d.

    References
    ----------
    O. Khattab, M. Zaharia: ColBERT, arXiv:2004.12832, section 3.3.

    Examples
    --------
    >>> import numpy as np
    >>> class Letters:
    ...     dim, fingerprint, max_tokens = 26, "letters", None
    ...     def encode(self, items, *, role="document", batch_size=64, progress=False):
    ...         return np.array([[s.count(chr(97 + i)) for i in range(26)] for s in items], np.float32)
    >>> searcher = MultiVectorSearcher(WordVectors(Letters()), {"1": "ab zz", "2": "cd zz"})
    >>> searcher.search_texts(["cd"], k=1)[0][0][0]
    '2'
    """

    def __init__(
        self, encoder: TokenEncoder, documents: Mapping[str, Any] | Sequence[Any], *, batch_size: int = 64
    ) -> None:
        texts = as_documents(documents)
        if not texts:
            raise InputError(message("no documents", "at least one", "pass the corpus"))
        self.encoder = encoder
        self._batch_size = check_count(batch_size, name="batch_size")
        self._ids = list(texts)
        self._documents = self._encode(list(texts.values()), "document")

    def _encode(self, texts: list[str], role: Role) -> Ragged:
        found = self.encoder.encode_tokens(texts, role=role, batch_size=self._batch_size)
        return as_ragged(found, name=f"{role} tokens", nonempty=True)

    def search_texts(self, queries: Sequence[str], *, k: int) -> list[list[tuple[str, float]]]:
        """Return the k best documents of each query.

        Parameters
        ----------
        queries : sequence of str
            Texts.
        k : int
            Results per query, at least 1.

        Returns
        -------
        list of list of tuple
            (document id, score), best first; equal scores in the order of the documents.

        Raises
        ------
        InputError
            Queries that are not texts, or k below 1.
        DimensionError
            Query vectors of another width than the documents'.
        """
        k = check_count(k, name="k")
        out: list[list[tuple[str, float]]] = []
        texts, held = as_texts(queries, name="queries"), self._documents
        for begin in range(0, len(texts), _BLOCK):
            asked = self._encode(texts[begin : begin + _BLOCK], "query")
            if asked.values.shape[1] != held.values.shape[1]:
                raise DimensionError(
                    message(f"query vectors of {asked.values.shape[1]}", f"{held.values.shape[1]}", "use one encoder")
                )
            for scores in maxsim_scores(asked.values, asked.offsets, held.values, held.offsets):
                best = np.argsort(-scores, kind="stable")[:k]
                out.append([(self._ids[row], float(scores[row])) for row in best])
        return out

    def describe(self) -> dict[str, Any]:
        """Return what a report says about the target: encoder, width, and vectors per document."""
        return {
            "encoder": type(self.encoder).__name__,
            "fingerprint": self.encoder.fingerprint,
            "dim": int(self._documents.values.shape[1]),
            "vectors_per_document": len(self._documents.values) / len(self._ids),
        }


@dataclass(frozen=True)
class LimitReport:
    """Recall of several arms on one task.

    Attributes
    ----------
    task : str
        Name of the task.
    reports : dict of str to RetrievalReport or None
        By arm; None for an arm that did not run.
    """

    task: str
    reports: Mapping[str, RetrievalReport | None]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        arms = {name: None if report is None else report.to_dict() for name, report in self.reports.items()}
        return {"task": self.task, "arms": arms}

    def __str__(self) -> str:
        """Return one line per arm."""
        lines = [f"{self.task}: share of the relevant documents among the first"]
        for name, report in self.reports.items():
            shown = "did not run"
            if report is not None:
                shown = "  ".join(f"{metric[7:]}: {value:.3f}" for metric, value in report.metrics.items())
            lines.append(f"  {name:<28} {shown}")
        return "\n".join(lines)


def compare_arms(
    task: RetrievalSet, arms: Mapping[str, Any], *, metrics: Sequence[str] = _METRICS, depth: int = 100
) -> LimitReport:
    """Put several arms to one task.

    Parameters
    ----------
    task : RetrievalSet
        Such as `generate` makes.
    arms : mapping of str to anything that `orthant.evaluation.evaluate` takes
        Searchers, encoders (one vector per text, searched exactly), runs; what has no ``encode`` but ``encode_tokens``
        is searched by all its vectors, and `MultiVectorSearcher` asks for that; None for an arm that could not be made.
    metrics : sequence of str, default recall@2, @10, @20, @100
        What is measured.
    depth : int, default 100
        Documents per query, at least as many as a metric looks at.

    Returns
    -------
    LimitReport
        The figures, arm by arm.

    Raises
    ------
    InputError
        No arm, or one that cannot search.

    Examples
    --------
    >>> import numpy as np
    >>> class Letters:
    ...     dim, fingerprint, max_tokens = 26, "letters", None
    ...     def encode(self, items, *, role="document", batch_size=64, progress=False):
    ...         return np.array([[s.count(chr(97 + i)) for i in range(26)] for s in items], np.float32)
    >>> from orthant.evaluation.limit import generate
    >>> task = generate(6, 12, min_items=6)
    >>> report = compare_arms(task, {"one": Letters(), "several": WordVectors(Letters())}, metrics=["recall@2"])
    >>> report.reports["several"].metrics["recall@2"] > report.reports["one"].metrics["recall@2"]
    True
    """
    if not arms:
        raise InputError(message("no arms", "at least one", "pass {'name': encoder}"))
    if not isinstance(task, RetrievalSet):
        raise InputError(message(f"a task {type(task).__name__}", "a RetrievalSet", "pass what generate returned"))
    corpus = {document.id: document.content for document in task.corpus}
    found: dict[str, RetrievalReport | None] = {}
    for name, arm in arms.items():
        target = arm
        # An encoder that can do both is taken as one vector per text; the other needs to be asked for.
        if hasattr(arm, "encode_tokens") and not hasattr(arm, "encode") and not hasattr(arm, "search_texts"):
            target = MultiVectorSearcher(arm, corpus)
        found[name] = None
        if target is not None:
            found[name] = evaluate(
                target, queries=task.queries, qrels=task.qrels, corpus=corpus, metrics=list(metrics), depth=depth
            )
    return LimitReport(task.name, found)
