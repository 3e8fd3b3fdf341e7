"""Texts as topics: latent semantic analysis and latent Dirichlet allocation of scikit-learn as encoders."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from orthant.artifact import read_artifact, write_artifact
from orthant.encoders.fingerprint import Fingerprint, digest_tensors
from orthant.encoders.words.corpus import packed_words, unpacked_words, words_of
from orthant.errors import InputError, NotFittedError, message
from orthant.types import EncodeReport, FloatArray, Role
from orthant.validate import as_texts, check_choice, check_count

__all__ = ["TopicEncoder"]

METHODS = ("lsa", "lda")
_KIND = "encoder.topics"


class TopicEncoder:
    """Encode texts by the topics of a corpus: the classical baselines, learned in seconds from your own texts.

    Use it as what a newer encoder must beat. ``"lsa"`` reduces weighted counts by a singular value decomposition and is
    the better retriever; ``"lda"`` gives proportions of topics that a person can read.

    Parameters
    ----------
    dim : int, default 100
        Topics. 50 to 300 for ``"lsa"``, 10 to 100 for ``"lda"``.
    method : {"lsa", "lda"}, default "lsa"
        Which of the two.
    min_count : int, default 2
        Texts that a word must be in.
    max_words : int, optional
        The most frequent words only.
    seed : int, default 0
        Of the decomposition.

    Attributes
    ----------
    dim : int
        As given.
    fingerprint : str
        Hash of what was learned; before that, of nothing.
    max_tokens : None
        Nothing is ever cut.

    Notes
    -----
    Texts without a known word get zeros under ``"lsa"``, and equal proportions under ``"lda"``. ``save`` keeps words
    and topics as arrays, and ``load`` puts them into scikit-learn's objects again. Cost: O(words dim) per pass.

    References
    ----------
    Deerwester et al.: Indexing by latent semantic analysis. JASIS 41(6), 1990. Blei, Ng, Jordan: Latent Dirichlet
    allocation. JMLR 3, 2003.

    Examples
    --------
    >>> texts = ["sea and ship", "ship and harbour", "oven and bread", "bread and flour"]
    >>> encoder = TopicEncoder(dim=2, min_count=1).fit(texts)
    >>> a, b, c = encoder.encode(["ship", "harbour", "flour"])
    >>> bool(a @ b > a @ c)
    True
    """

    def __init__(
        self, dim: int = 100, *, method: str = "lsa", min_count: int = 2, max_words: int | None = None, seed: int = 0
    ) -> None:
        self.dim: int = check_count(dim, name="dim")
        self.method = check_choice(method, METHODS, name="method")
        self.min_count = check_count(min_count, name="min_count")
        self.max_words, self.seed = max_words, seed
        self.max_tokens: int | None = None
        self._counter: Any = None
        self._model: Any = None

    def fit(self, texts: Iterable[str]) -> TopicEncoder:
        """Learn words and topics.

        Parameters
        ----------
        texts : iterable of str
            The corpus.

        Returns
        -------
        TopicEncoder
            Self.

        Raises
        ------
        InputError
            Too few texts or words for ``dim`` topics.
        """
        given = as_texts(texts)
        counter, model = self._unfitted(min_df=self.min_count, max_features=self.max_words)
        try:
            counts = counter.fit_transform(given)
            if self.method == "lsa" and self.dim >= min(counts.shape):
                raise ValueError(f"{counts.shape[1]} words in {counts.shape[0]} texts")
            model.fit(counts)
        except ValueError as error:
            raise InputError(
                message(f"{len(given)} texts for {self.dim} topics: {error}", "more texts and words than topics",
                        "lower dim or min_count, or pass more texts")
            ) from error  # fmt: skip
        self._counter, self._model = counter, model
        return self

    def _unfitted(self, **settings: Any) -> tuple[Any, Any]:
        """What counts words, and what finds topics in the counts."""
        from sklearn.decomposition import LatentDirichletAllocation, TruncatedSVD
        from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

        settings |= {"tokenizer": words_of, "token_pattern": None, "lowercase": False}
        if self.method == "lsa":
            return TfidfVectorizer(sublinear_tf=True, **settings), TruncatedSVD(self.dim, random_state=self.seed)
        topics = LatentDirichletAllocation(self.dim, learning_method="online", random_state=self.seed)
        return CountVectorizer(**settings), topics

    @property
    def fingerprint(self) -> str:
        """Hash of method, words and topics."""
        if self._model is None:
            return str(Fingerprint(name=self.method, dim=self.dim))
        words = "\n".join(self._counter.get_feature_names_out()).encode()
        return str(
            Fingerprint(
                name=self.method,
                dim=self.dim,
                weight_hash=digest_tensors({"topics": self._model.components_}),
                tokenizer_hash=digest_tensors({"words": np.frombuffer(words, np.uint8)}),
                normalization="l2" if self.method == "lsa" else "none",
            )
        )

    def encode(
        self, items: Sequence[str], *, role: Role = "document", batch_size: int = 1024, progress: bool = False
    ) -> FloatArray:
        """Return a vector per text.

        Parameters
        ----------
        items : sequence of str
            Texts.
        role : {"query", "document"}, default "document"
            Accepted for the protocol; both are treated alike.
        batch_size : int, default 1024
            Texts handled at a time.
        progress : bool, default False
            Accepted for the protocol.

        Returns
        -------
        ndarray of shape (n, dim), float32, C-contiguous
            Unit vectors of ``"lsa"``; proportions of ``"lda"``, which sum to 1.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        """
        return self.encode_with_report(items, role=role, batch_size=batch_size, progress=progress)[0]

    def encode_with_report(
        self, items: Sequence[str], *, role: Role = "document", batch_size: int = 1024, progress: bool = False
    ) -> tuple[FloatArray, EncodeReport]:
        """Return the vectors and how many texts had no known word.

        Parameters
        ----------
        items, role, batch_size, progress
            As for ``encode``.

        Returns
        -------
        vectors : ndarray of shape (n, dim), float32, C-contiguous
            As from ``encode``.
        report : EncodeReport
            Items, empty items, seconds.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        """
        begun = time.perf_counter()
        texts = as_texts(items, name="items")
        check_choice(role, ("query", "document"), name="role")
        check_count(batch_size, name="batch_size")
        if self._model is None:
            raise NotFittedError(message("a TopicEncoder that has not been fitted", "a fitted one", "call fit(texts)"))
        out = np.zeros((len(texts), self.dim), dtype=np.float32)
        empty = 0
        for start in range(0, len(texts), batch_size):
            counts = self._counter.transform(texts[start : start + batch_size])
            empty += int(np.count_nonzero(np.diff(counts.indptr) == 0))
            out[start : start + batch_size] = self._model.transform(counts)
        if self.method == "lsa":
            norms = np.linalg.norm(out, axis=1, keepdims=True)
            out /= np.where(norms > 0, norms, 1.0)
        return out, EncodeReport(items=len(texts), empty_items=empty, seconds=time.perf_counter() - begun)

    def topics(self, *, k: int = 10) -> list[list[str]]:
        """Return the words that weigh most in each topic.

        Parameters
        ----------
        k : int, default 10
            Words per topic.

        Returns
        -------
        list of list of str
            One list per topic. Topics of ``"lsa"`` have two ends; the end of larger weights is shown.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        """
        if self._model is None:
            raise NotFittedError(message("a TopicEncoder that has not been fitted", "a fitted one", "call fit(texts)"))
        words = self._counter.get_feature_names_out()
        best = np.argsort(-self._model.components_, axis=1)[:, : check_count(k, name="k")]
        return [[str(word) for word in words[row]] for row in best]

    def save(self, path: str | Path) -> None:
        """Write words and topics as an artefact folder, which is a name for ``orthant.open(..., encoder=folder)``.

        Parameters
        ----------
        path : str or Path
            Folder, created if missing.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        """
        if self._model is None:
            raise NotFittedError(message("a TopicEncoder that has not been fitted", "a fitted one", "call fit(texts)"))
        arrays = {"words": packed_words(self._counter.get_feature_names_out()), "topics": self._model.components_}
        if self.method == "lsa":
            arrays["rarity"] = self._counter.idf_
        else:
            arrays["shares"] = self._model.exp_dirichlet_component_
        names = ("dim", "method", "min_count", "max_words", "seed")
        write_artifact(path, kind=_KIND, arrays=arrays, config={"settings": {name: vars(self)[name] for name in names}})

    @classmethod
    def load(cls, path: str | Path) -> TopicEncoder:
        """Read a folder of ``save``.

        Parameters
        ----------
        path : str or Path
            The folder.

        Returns
        -------
        TopicEncoder
            Encodes as the saved one did, with the same fingerprint.

        Raises
        ------
        NotFoundError, StoreCorruptedError, StoreVersionError
            No such folder, damaged files, or those of a newer release.
        """
        arrays, config = read_artifact(path, kind=_KIND)
        made = cls(**config["settings"])
        words = unpacked_words(arrays["words"])
        made._counter, model = made._unfitted(vocabulary=words)
        if made.method == "lsa":
            made._counter.idf_ = arrays["rarity"]
        else:
            model.exp_dirichlet_component_ = arrays["shares"]
            model.doc_topic_prior_ = 1.0 / made.dim
        model.components_, model.n_features_in_ = arrays["topics"], len(words)
        made._model = model
        return made
