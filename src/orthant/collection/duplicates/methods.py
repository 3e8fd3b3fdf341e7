"""What a collection offers for cleaning: the methods check nothing themselves and delegate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from orthant.collection.duplicates.clusters import ClusterReport
    from orthant.collection.duplicates.finding import By, Labelled
    from orthant.collection.duplicates.groups import Keep, Linkage
    from orthant.collection.duplicates.report import DuplicateReport
    from orthant.collection.storage.store import Store

__all__ = ["CleaningMethods"]


class CleaningMethods:
    """The part of a collection that looks for duplicates and clusters; see :class:`CollectionReader`."""

    _store: Store

    def duplicates(
        self,
        *,
        by: By = "vectors",
        threshold: float | Mapping[str, float] | None = None,
        labelled: Labelled | None = None,
        space: str | None = None,
        where: Mapping[str, Any] | None = None,
        exact: bool = False,
        keep: Keep = "oldest",
        order_field: str | None = None,
        shingle: int | None = None,
        linkage: Linkage = "kept",
        seed: int = 0,
        progress: bool = False,
    ) -> DuplicateReport:
        """Find near-duplicate records by their vectors, their words, or both; nothing is changed.

        By text to find copies with edits; by vectors to find what says the same in other words as well; by both where
        a false alarm is dear.

        Parameters
        ----------
        by : {"vectors", "text", "both"}, default "vectors"
            Compare cosines of vectors, Jaccard similarities of word shingles, or demand both.
        threshold : float, or mapping of "vectors" and "text" to float, optional
            Least similarity, 0.01 to 1. Too low makes strangers duplicates, too high misses edited copies. Without one,
            and without ``labelled``, the report shows how similar records are and holds no pairs.
        labelled : sequence of (str, str, bool), optional
            Pairs of ids and whether they are duplicates: the threshold with the highest F1 on them is taken. Not with
            ``by="both"``.
        space : str, optional
            Vector space, ``"default"`` when left out.
        where : mapping, optional
            Only records that match.
        exact : bool, default False
            Compare every pair of vectors, or every pair of texts that shares a shingle; slower, finds every pair.
        keep : {"oldest", "newest", "longest"} or callable of Record, default "oldest"
            The record of a group to keep, by insertion order or length of text; a function returns what to compare, and
            the largest is kept.
        order_field : str, optional
            Metadata field that says what is old, for ``"oldest"`` and ``"newest"``.
        shingle : int, optional
            Words per shingle, 3 when left out. Larger ones are stricter about the order of words.
        linkage : {"kept", "components"}, default "kept"
            ``"kept"`` groups only what reaches the threshold with the kept record; ``"components"`` follows chains.
        seed : int, default 0
            Of the hash functions, the samples and the bootstrap.
        progress : bool, default False
            Show a bar of the records that were compared.

        Returns
        -------
        DuplicateReport
            Pairs, groups, recall; ``mark``, ``unmark`` and ``delete``.

        Raises
        ------
        InputError
            Settings that do not fit together.
        NotFoundError
            An unknown space, or a judged id that is absent.

        Notes
        -----
        Cost: by vectors ``n * n * dim / 2`` multiplications up to 20,000 records or without a graph, else a search per
        record; a float32 copy of the vectors in memory. By text a pass over the shingles per hash function, 128 of
        them.
        """
        from orthant.collection.duplicates.finding import find_duplicates

        return find_duplicates(
            self._store,
            by=by,
            threshold=threshold,
            labelled=labelled,
            space=space,
            where=where,
            exact=exact,
            keep=keep,
            order_field=order_field,
            shingle=shingle,
            linkage=linkage,
            seed=seed,
            progress=progress,
        )

    def clusters(
        self,
        k: int | None = None,
        *,
        method: Literal["kmeans", "graph"] = "kmeans",
        space: str = "default",
        where: Mapping[str, Any] | None = None,
        neighbours: int | None = None,
        words: int = 8,
        seed: int = 0,
    ) -> ClusterReport:
        """Cluster records by their vectors, and find the words that distinguish each cluster.

        Parameters
        ----------
        k : int, optional
            Clusters for ``"kmeans"``. Left out, the number up to 64 with the best silhouette on a sample.
        method : {"kmeans", "graph"}, default "kmeans"
            ``"kmeans"`` gives every record a cluster. ``"graph"`` joins records that are among each other's nearest:
            tight clusters of any shape, and many records in none.
        space : str, default "default"
            Vector space.
        where : mapping, optional
            Only records that match.
        neighbours : int, optional
            Neighbours for ``"graph"``, 5 when left out. Few break clusters up, many join them into one.
        words : int, default 8
            Words per cluster at most; 0 counts none.
        seed : int, default 0
            Of the first centroids and of the samples.

        Returns
        -------
        ClusterReport
            Labels, sizes, medoids, words, silhouette.

        Raises
        ------
        InputError
            Settings that do not fit the method, or more clusters than vectors.
        NotFoundError
            An unknown space.

        Notes
        -----
        Cost: ``n * k * dim`` multiplications per iteration, 50 at most; or a search per record.
        """
        from orthant.collection.duplicates.clusters import find_clusters

        return find_clusters(
            self._store,
            k=k,
            method=method,
            space=space,
            where=where,
            neighbours=neighbours,
            words=words,
            seed=seed,
        )
