"""Classes found in unlabelled vectors of several sources, by what becomes frequent and rare together."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import DimensionError, InputError, NotFittedError, message, warn
from orthant.estimator import Estimator, check_is_fitted
from orthant.kernels.clustering.kmeans import kmeans
from orthant.types import IdArray
from orthant.validate import as_vectors, check_count

__all__ = ["IdentifiabilityReport", "LatentLabelShift"]

Floats = npt.NDArray[np.float64]

_FEWEST = 20
_RESTARTS = 5
_POOR_CONDITION = 15.0
_POOR_GAIN = 0.02
_SMALLEST = 1e-12


@dataclass(frozen=True)
class IdentifiabilityReport:
    """Whether the sources differ enough for the classes to be found.

    Attributes
    ----------
    condition : float
        Of the matrix of mixes, classes by sources; near 1 sources differ in every class, above 15 some classes hardly
        shift and may be mixed up.
    log_loss, entropy : float
        In nats: of the discriminator on items it did not see, and of guessing sources by their size. Their difference
        is all that the method has to go by.
    reconstruction : float
        Relative error of the factorisation, from 0; far above 0.1 the number of classes, or the assumption that each
        class looks alike everywhere, is wrong.
    smallest_class : float
        Share of the rarest class found.
    warnings : tuple of str
        What is amiss, in words; empty if nothing is.
    """

    condition: float
    log_loss: float
    entropy: float
    reconstruction: float
    smallest_class: float
    warnings: tuple[str, ...]


class LatentLabelShift(Estimator):
    """Find classes without labels, from sources whose mixes of the classes differ.

    Groups of items whose shares rise and fall together from source to source are one class, even where they are no
    cluster. For embeddings from shops, months or sites in which each class looks alike everywhere. Where the mixes are
    nearly equal it finds nothing that is there; k-means is better then, and the report says so.

    Parameters
    ----------
    n_classes : int
        k, from 2 to the number of sources.
    n_clusters : int, optional
        Groups that predictions of the source are cut into, at least k; default 3 k, and at least 20. Too few cut
        across classes, too many have few items each.
    discriminator : scikit-learn classifier, optional
        Told which source an item is from; cloned. Default: a network with one layer of 128 units, stopped early.
    folds : int, default 3
        Every item is judged by a discriminator that has not seen it. 2 or more; more is slower and a little better.
    nmf_restarts : int, default 10
        Starts of the factorisation, of which the best is kept. Few may end in a poor one.
    seed : int, default 0
        Of folds, starts and the default discriminator.

    Attributes
    ----------
    domains_ : ndarray of shape (r,)
        Names of the sources, sorted.
    domain_proba_ : ndarray of shape (n, r), float64
        Probabilities of the sources of the fitted items, by discriminators that did not see them.
    class_prior_ : ndarray of shape (k, r), float64
        Mix of each source; columns sum to 1.
    cluster_given_class_ : ndarray of shape (m, k), float64
        How each class spreads over the groups; columns sum to 1.
    posterior_ : ndarray of shape (n, k), float64
        Class probabilities of the fitted items, by discriminators that did not see them.
    labels_ : ndarray of shape (n,), int64
        Their most probable class; numbers have no meaning beyond telling classes apart.

    Raises
    ------
    InputError
        In ``fit``: fewer sources than classes, fewer than 20 items of a source, a discriminator no better than
        guessing.

    Warns
    -----
    UserWarning
        In ``fit``: the report has warnings.

    Notes
    -----
    A discriminator gives f(x) ~ p(source | x); its values are cut into m groups by k-means; the shares
    ``Q = p(group | source)`` factor into ``p(group | class) p(class | source)`` without negative entries. With
    B = p(source | class), ``p(class | x) = pinv(B) f(x)`` cut at 0, and ``p(class | x, source) ~ p(class | x)
    p(source | class)``. Each class must have a region where only it occurs.
    Cost: ``folds`` trainings of the discriminator; the rest is small.

    References
    ----------
    Unsupervised Learning under Latent Label Shift. NeurIPS 2022, arXiv 2207.13179, section 5.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> rng = np.random.default_rng(0)
    >>> mixes = [0.9, 0.5, 0.1]
    >>> source = np.repeat([0, 1, 2], 200)
    >>> truth = (rng.random(600) < np.take(mixes, source)).astype(int)
    >>> X = rng.standard_normal((600, 2)) + 3.0 * truth[:, None]
    >>> found = LatentLabelShift(2, discriminator=LogisticRegression()).fit(X, source)
    >>> bool(max(np.mean(found.labels_ == truth), np.mean(found.labels_ != truth)) > 0.9)
    True
    """

    domains_: npt.NDArray[Any]
    domain_proba_: Floats
    class_prior_: Floats
    cluster_given_class_: Floats
    posterior_: Floats
    labels_: IdArray

    def __init__(
        self,
        n_classes: int,
        *,
        n_clusters: int | None = None,
        discriminator: Any = None,
        folds: int = 3,
        nmf_restarts: int = 10,
        seed: int = 0,
    ) -> None:
        self.n_classes = n_classes
        self.n_clusters = n_clusters
        self.discriminator = discriminator
        self.folds = folds
        self.nmf_restarts = nmf_restarts
        self.seed = seed

    def fit(self, X: npt.ArrayLike, domains: npt.ArrayLike) -> LatentLabelShift:
        """Find the classes of unlabelled items.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Vectors of all sources.
        domains : array-like of shape (n,)
            The source of each, of any kind that can be sorted.

        Returns
        -------
        LatentLabelShift
            Self.

        Raises
        ------
        InputError
            Fewer sources than classes, fewer groups than classes, fewer than 20 items of a source, NaN or infinity, a
            discriminator no better than guessing; the text has both figures.
        """
        rows = as_vectors(X)
        k = check_count(self.n_classes, name="n_classes", minimum=2)
        m = max(20, 3 * k) if self.n_clusters is None else self.n_clusters
        check_count(m, name="n_clusters", minimum=k)
        check_count(self.folds, name="folds", minimum=2)
        check_count(self.nmf_restarts, name="nmf_restarts")
        source = self._read_domains(domains, len(rows), k)
        self._n_features = rows.shape[1]
        told = self._discriminate(rows, source)
        self.domain_proba_ = told
        shares = np.bincount(source) / len(source)
        loss = float(-np.log(np.maximum(told[np.arange(len(told)), source], _SMALLEST)).mean())
        entropy = float(-(shares * np.log(shares)).sum())
        if loss >= entropy:
            raise InputError(
                message(
                    f"a discriminator with log-loss {loss:.4f} where guessing has {entropy:.4f}",
                    "one that tells sources apart a little",
                    "give it more items or another kind of discriminator; perhaps the mixes do not differ",
                )
            )
        groups = _groups(told, min(m, len(told)), self.seed)
        Q = np.zeros((int(groups.max()) + 1, len(shares)))
        np.add.at(Q, (groups, source), 1.0)
        Q /= Q.sum(axis=0)
        C, W, error = _factorise(Q, k, self.nmf_restarts, self.seed)
        self.cluster_given_class_, self.class_prior_ = C, W
        joint = W * shares
        self._domain_given_class = (joint / np.maximum(joint.sum(axis=1, keepdims=True), _SMALLEST)).T
        self.posterior_ = self._posterior(told, source)
        self.labels_ = self.posterior_.argmax(axis=1)
        self._report = self._judge(loss, entropy, error, joint.sum(axis=1))
        for words in self._report.warnings:
            warn(words)
        return self

    def predict_proba(self, X: npt.ArrayLike, domains: npt.ArrayLike | None = None) -> Floats:
        """Return class probabilities of items, those of the fitted sources or of an unknown one.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Vectors. For the fitted items use ``posterior_``: the discriminators have seen them.
        domains : array-like of shape (n,), optional
            The source of each, one of ``domains_``; left out, the mix of all sources together is assumed.

        Returns
        -------
        ndarray of shape (n, k), float64
            Rows sum to 1.

        Raises
        ------
        InputError
            A source that was not fitted.
        """
        check_is_fitted(self)
        rows = as_vectors(X, dim=self._n_features)
        told = np.mean([_aligned(one, rows, len(self.domains_)) for one in self._discriminators], axis=0)
        source = None
        if domains is not None:
            given = np.asarray(domains)
            known = np.isin(given, self.domains_)
            if given.shape != (len(rows),) or not known.all():
                raise InputError(
                    message(
                        f"domains of shape {given.shape}, {int((~known).sum())} of them unknown",
                        f"one of the {len(self.domains_)} fitted sources for each item",
                        "leave domains out, or fit with that source",
                    )
                )
            source = np.searchsorted(self.domains_, given)
        return self._posterior(told, source)

    def predict(self, X: npt.ArrayLike, domains: npt.ArrayLike | None = None) -> IdArray:
        """Return the number of the most probable class of each item.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Vectors.
        domains : array-like of shape (n,), optional
            As for ``predict_proba``.

        Returns
        -------
        ndarray of shape (n,), int64
            From 0 to k - 1.
        """
        return self.predict_proba(X, domains).argmax(axis=1)

    def identifiability_report(self) -> IdentifiabilityReport:
        """Return whether the sources differ enough for the classes to be found.

        Returns
        -------
        IdentifiabilityReport
            The figures, and what is amiss in words.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        """
        if not hasattr(self, "_report"):
            raise NotFittedError(message("a report before fit", "a fitted estimator", "call fit(X, domains) first"))
        return self._report

    def _read_domains(self, domains: npt.ArrayLike, n: int, k: int) -> IdArray:
        given = np.asarray(domains)
        if given.shape != (n,):
            raise DimensionError(message(f"domains of shape {given.shape} for {n} items", "one each", "add a column"))
        self.domains_, source = np.unique(given, return_inverse=True)
        counts = np.bincount(source)
        if len(counts) < k:
            raise InputError(
                message(
                    f"{len(counts)} sources for {k} classes",
                    "at least as many sources as classes",
                    "split a source, by month say, or ask for fewer classes",
                )
            )
        if int(counts.min()) < _FEWEST:
            few = self.domains_.tolist()[int(counts.argmin())]
            raise InputError(
                message(f"{counts.min()} items of source {few!r}", f"{_FEWEST} or more", "join it with another source")
            )
        return source.astype(np.int64)

    def _discriminate(self, rows: Any, source: IdArray) -> Floats:
        """Probabilities of the sources of each item, by a model of the fold that it was left out of."""
        from sklearn.base import clone
        from sklearn.model_selection import StratifiedKFold

        model = self.discriminator
        if model is None:
            from sklearn.neural_network import MLPClassifier

            model = MLPClassifier((128,), early_stopping=True, max_iter=200, random_state=self.seed)
        told = np.empty((len(rows), len(self.domains_)))
        self._discriminators = []
        for train, held in StratifiedKFold(self.folds, shuffle=True, random_state=self.seed).split(rows, source):
            fitted = clone(model).fit(rows[train], source[train])
            told[held] = _aligned(fitted, rows[held], len(self.domains_))
            self._discriminators.append(fitted)
        return told

    def _posterior(self, told: Floats, source: IdArray | None) -> Floats:
        B = self._domain_given_class
        out = np.maximum(told @ np.linalg.pinv(B).T, 0.0)
        if source is not None:
            out = out * B[source]
        sums = out.sum(axis=1, keepdims=True)
        # Where all was cut away the mix of the source, or of all, is what is known.
        shares = np.full_like(out, 1 / out.shape[1]) if source is None else self.class_prior_[:, source].T
        return np.where(sums > _SMALLEST, out / np.maximum(sums, _SMALLEST), shares)

    def _judge(self, loss: float, entropy: float, error: float, mix: Floats) -> IdentifiabilityReport:
        condition = float(np.linalg.cond(self.class_prior_))
        words = []
        if condition > _POOR_CONDITION:
            words.append(
                f"the mixes of the sources are nearly dependent (condition {condition:.1f}): classes may be mixed up; "
                "compare with k-means"
            )
        if entropy - loss < _POOR_GAIN * entropy:
            words.append(
                f"sources can hardly be told apart (log-loss {loss:.3f}, guessing {entropy:.3f}): the mixes may be "
                "alike"
            )
        return IdentifiabilityReport(condition, loss, entropy, error, float(mix.min()), tuple(words))


def _aligned(fitted: Any, rows: Any, r: int) -> Floats:
    out = np.zeros((len(rows), r))
    out[:, np.asarray(fitted.classes_, dtype=np.int64)] = fitted.predict_proba(rows)
    return out


def _groups(told: Floats, m: int, seed: int) -> IdArray:
    points = told.astype(np.float32)
    best, least = np.zeros(len(told), dtype=np.int64), np.inf
    for restart in range(_RESTARTS):
        found = kmeans(points, m, seed=seed * _RESTARTS + restart)
        if found.inertia < least:
            best, least = found.labels, found.inertia
    return np.unique(best, return_inverse=True)[1].astype(np.int64)


def _factorise(Q: Floats, k: int, restarts: int, seed: int) -> tuple[Floats, Floats, float]:
    """``Q ~ C W`` without negative entries, columns of both with sum 1, and its relative error."""
    from sklearn.decomposition import NMF
    from sklearn.exceptions import ConvergenceWarning

    best: tuple[Floats, Floats] | None = None
    least = np.inf
    for restart in range(restarts):
        model = NMF(k, init="random", random_state=seed * restarts + restart, max_iter=1000, tol=1e-6)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            C = model.fit_transform(Q)
        # A class without items is a local optimum; any other is preferred to it.
        error = float(model.reconstruction_err_) + (np.inf if not C.sum(axis=0).all() else 0.0)
        if best is None or error < least:
            best, least = (C, model.components_), error
    if best is None or not np.isfinite(least):
        raise InputError(
            message(f"no factorisation into {k} classes in {restarts} starts", "one", "ask for fewer classes")
        )
    C, W = best
    sums = C.sum(axis=0)
    C, W = C / sums, W * sums[:, None]
    return C, W / np.maximum(W.sum(axis=0), _SMALLEST), least / float(np.linalg.norm(Q))
