"""The calls of a collection as requests: written once, sent by the synchronous and the asynchronous client."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote

from orthant.client.results import Answer, Record, SearchResult
from orthant.client.vectors import pack_named, pack_query, pack_rows
from orthant.errors import InputError, NotFoundError, message

__all__ = ["Call", "Calls"]

T = TypeVar("T")
Mode = Literal["dense", "lexical", "sparse", "tokens", "hybrid"]
Fusion = Literal["minmax", "rrf"]
Syntax = Literal["operators", "plain"]


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request, and how its answer is read.

    Attributes
    ----------
    method : str
        HTTP method.
    path : str
        Below the collection's address.
    body : mapping or None
        JSON values.
    read : callable
        Makes the result of the parsed answer.
    repeatable : bool
        Whether asking twice does the same as asking once.
    """

    method: str
    path: str
    body: Mapping[str, Any] | None
    read: Callable[[Any], T]
    repeatable: bool = True


class Calls:
    """The methods of ``orthant.Collection`` that a server answers, with their names and arguments.

    Each returns a :class:`Call`; what the arguments mean stands at ``Collection``.
    """

    def search(
        self,
        query: Any = None,
        *,
        k: int = 10,
        mode: Mode | None = None,
        where: Mapping[str, Any] | None = None,
        vector: Any | None = None,
        space: str = "default",
        spaces: Mapping[str, float] | None = None,
        sparse_vector: Any | None = None,
        sparse_space: str | None = None,
        offset: int = 0,
        min_score: float | None = None,
        weights: Mapping[str, float] | None = None,
        fusion: Fusion | None = None,
        depth: int | None = None,
        recall: float | None = None,
        effort: int | None = None,
        threads: int | None = None,
        exact: bool = False,
        explain: bool = False,
        include_text: bool = True,
        syntax: Syntax | None = None,
        rerank: Any | None = None,
        rerank_depth: int | None = None,
        diversity: float | None = None,
        group_by: str | None = None,
        groups: int | None = None,
        per_group: int | None = None,
        facets: Sequence[str] | Mapping[str, int] | None = None,
        steer: Mapping[str, Any] | None = None,
    ) -> Call[SearchResult]:
        """Find the records closest to a query; see ``Collection.search``.

        Parameters
        ----------
        query, k, mode, where, vector, space, spaces, sparse_vector, sparse_space, offset, min_score, weights
            As in ``Collection.search``.
        fusion, depth, recall, effort, threads, exact, explain, include_text, syntax, rerank, rerank_depth
            As in ``Collection.search``.
        diversity, group_by, groups, per_group, facets, steer
            As in ``Collection.search``.

        Returns
        -------
        Call[SearchResult]
            The request.
        """
        given = dict(locals())
        return Call("POST", "search", _asked(given), SearchResult.of)

    def search_many(
        self,
        queries: Sequence[Any],
        *,
        k: int = 10,
        mode: Mode | None = None,
        where: Mapping[str, Any] | None = None,
        vectors: Any | None = None,
        space: str = "default",
        spaces: Mapping[str, float] | None = None,
        sparse_vectors: Any | None = None,
        sparse_space: str | None = None,
        offset: int = 0,
        min_score: float | None = None,
        weights: Mapping[str, float] | None = None,
        fusion: Fusion | None = None,
        depth: int | None = None,
        recall: float | None = None,
        effort: int | None = None,
        threads: int | None = None,
        exact: bool = False,
        explain: bool = False,
        include_text: bool = True,
        syntax: Syntax | None = None,
        rerank: Any | None = None,
        rerank_depth: int | None = None,
        diversity: float | None = None,
        group_by: str | None = None,
        groups: int | None = None,
        per_group: int | None = None,
        facets: Sequence[str] | Mapping[str, int] | None = None,
        steer: Mapping[str, Any] | None = None,
    ) -> Call[list[SearchResult]]:
        """Run several queries at once; see ``Collection.search_many``.

        Parameters
        ----------
        queries, k, mode, where, vectors, space, spaces, sparse_vectors, sparse_space, offset, min_score, weights
            As in ``Collection.search_many``.
        fusion, depth, recall, effort, threads, exact, explain, include_text, syntax, rerank, rerank_depth
            As in ``Collection.search_many``.
        diversity, group_by, groups, per_group, facets, steer
            As in ``Collection.search_many``.

        Returns
        -------
        Call[list[SearchResult]]
            The request.
        """
        given = dict(locals())
        return Call(
            "POST", "search_many", _asked(given), lambda found: [SearchResult.of(one) for one in found["results"]]
        )

    def similar(
        self,
        positive: Any,
        negative: Any = (),
        *,
        k: int = 10,
        where: Mapping[str, Any] | None = None,
        space: str = "default",
        strategy: Literal["average", "best"] = "average",
        offset: int = 0,
        min_score: float | None = None,
        recall: float | None = None,
        include_text: bool = True,
    ) -> Call[SearchResult]:
        """Find records like some examples and unlike others; see ``Collection.similar``.

        Parameters
        ----------
        positive, negative, k, where, space, strategy, offset, min_score, recall, include_text
            As in ``Collection.similar``.

        Returns
        -------
        Call[SearchResult]
            The request.
        """
        given = dict(locals())
        body = _asked(given)
        body["positive"] = _examples(positive)
        body["negative"] = _examples(negative)
        return Call("POST", "similar", body, SearchResult.of)

    def why_not(
        self,
        query: Any,
        record_id: str,
        *,
        k: int = 10,
        mode: Mode | None = None,
        where: Mapping[str, Any] | None = None,
        vector: Any | None = None,
        space: str = "default",
        sparse_vector: Any | None = None,
        sparse_space: str | None = None,
        offset: int = 0,
        min_score: float | None = None,
        weights: Mapping[str, float] | None = None,
        fusion: Fusion | None = None,
        depth: int | None = None,
        recall: float | None = None,
        effort: int | None = None,
        threads: int | None = None,
        syntax: Syntax | None = None,
        rerank: Any | None = None,
        rerank_depth: int | None = None,
        diversity: float | None = None,
        group_by: str | None = None,
        groups: int | None = None,
        per_group: int | None = None,
        steer: Mapping[str, Any] | None = None,
    ) -> Call[Answer]:
        """Say why a search does not return a record; see ``Collection.why_not``.

        Parameters
        ----------
        query, record_id, k, mode, where, vector, space, sparse_vector, sparse_space, offset, min_score
            As in ``Collection.why_not``.
        weights, fusion, depth, recall, effort, threads, syntax, rerank, rerank_depth, diversity, group_by
            As in ``Collection.why_not``.
        groups, per_group, steer
            As in ``Collection.why_not``.

        Returns
        -------
        Call[Answer]
            The request.
        """
        given = dict(locals())
        return Call("POST", "why_not", _asked(given), Answer)

    def get(self, ids: Any, *, vectors: bool = False) -> Call[Any]:
        """Return records by id; see ``Collection.get``.

        Parameters
        ----------
        ids, vectors
            As in ``Collection.get``.

        Returns
        -------
        Call[Any]
            The request.
        """
        wanted = [ids] if isinstance(ids, str) else list(ids)

        def read(found: Any) -> Any:
            records = [None if one is None else Record.of(one) for one in found["records"]]
            if not isinstance(ids, str):
                return records
            if records[0] is None:
                text = message(f"id {ids!r}", "the id of a stored record", "check it, or list ids with ids()")
                raise NotFoundError(text)
            return records[0]

        return Call("POST", "get", {"ids": wanted, "vectors": vectors, "form": "base64"}, read)

    def find(self, where: Mapping[str, Any] | None = None, *, limit: int = 100, offset: int = 0) -> Call[list[Record]]:
        """Return records by filter alone, in insertion order; see ``Collection.find``.

        Parameters
        ----------
        where, limit, offset
            As in ``Collection.find``.

        Returns
        -------
        Call[list[Record]]
            The request.
        """
        given = dict(locals())
        return Call("POST", "find", _asked(given), lambda found: [Record.of(one) for one in found["records"]])

    def ids(self) -> Call[Iterator[str]]:
        """Iterate over every record's id; see ``Collection.ids``."""
        return Call("GET", "ids", None, lambda found: iter(found["ids"]))

    def upsert(
        self,
        ids: Sequence[str],
        *,
        texts: Sequence[str | None] | None = None,
        metadata: Sequence[Mapping[str, Any] | None] | None = None,
        vectors: Any | None = None,
        progress: bool = False,
    ) -> Call[Answer]:
        """Write records, durable and searchable on return; see ``Collection.upsert``. No progress is shown.

        Parameters
        ----------
        ids, texts, metadata, vectors, progress
            As in ``Collection.upsert``.

        Returns
        -------
        Call[Answer]
            The request.
        """
        body = {"ids": _list(ids), "texts": _list(texts), "metadata": _list(metadata), "vectors": pack_rows(vectors)}
        return Call("POST", "upsert", {name: one for name, one in body.items() if one is not None}, Answer)

    def delete(self, ids: Sequence[str] | None = None, *, where: Mapping[str, Any] | None = None) -> Call[int]:
        """Remove records by id or by filter; see ``Collection.delete``.

        Parameters
        ----------
        ids, where
            As in ``Collection.delete``.

        Returns
        -------
        Call[int]
            The request.
        """
        body = {"ids": _list(ids), "where": where}
        return Call("POST", "delete", body, lambda found: int(found["removed"]), repeatable=False)

    def add_space(
        self,
        name: str,
        *,
        encoder: Any | None = None,
        dim: int | None = None,
        metric: Literal["cosine", "dot", "l2"] | None = None,
        kind: Literal["dense", "tokens", "sparse"] | None = None,
        dtype: Literal["float32", "float16"] = "float32",
        method: str | None = None,
        exact_below: int | None = None,
    ) -> Call[Answer]:
        """Add a space for vectors that you bring; see ``Collection.add_space``. Encoders are the server's business.

        Parameters
        ----------
        name, encoder, dim, metric, kind, dtype, method, exact_below
            As in ``Collection.add_space``.

        Returns
        -------
        Call[Answer]
            The request.
        """
        if encoder is not None:
            raise InputError(
                message("encoder= through a server", "dim=, and vectors with the records", "add it on the server")
            )
        body = {"name": name, "dim": dim, "metric": metric, "kind": kind, "dtype": dtype}
        body |= {"method": method, "exact_below": exact_below}
        return Call(
            "POST", "spaces", {key: one for key, one in body.items() if one is not None}, Answer, repeatable=False
        )

    def stats(self) -> Call[Answer]:
        """Return counts, bytes, spaces and fields; see ``Collection.stats``."""
        return Call("GET", "stats", None, Answer)

    def check(self, *, repair: bool = False) -> Call[Answer]:
        """Verify every checksum and every cross-reference; see ``Collection.check``.

        Parameters
        ----------
        repair
            As in ``Collection.check``.

        Returns
        -------
        Call[Answer]
            The request.
        """
        return Call("POST", "check", {"repair": repair}, Answer)

    def finish(self, *, progress: bool = False) -> Call[Answer]:
        """Merge every vector into the graph of its space; see ``Collection.finish``. No progress is shown.

        Parameters
        ----------
        progress
            As in ``Collection.finish``.

        Returns
        -------
        Call[Answer]
            The request.
        """
        return Call("POST", "finish", {}, Answer)

    def diagnose(
        self,
        space: str = "default",
        *,
        queries: Any | None = None,
        sample: int = 1_000,
        order: bool = True,
        seed: int = 0,
        progress: Callable[[str], None] | None = None,
    ) -> Call[Answer]:
        """Measure what the vectors of a space are like; see ``Collection.diagnose``. No progress is told.

        Parameters
        ----------
        space, queries, sample, order, seed, progress
            As in ``Collection.diagnose``.

        Returns
        -------
        Call[Answer]
            The request.
        """
        body = {"space": space, "sample": sample, "order": order, "seed": seed}
        if queries is not None:
            body["queries"] = [pack_query(query) for query in queries]
        return Call("POST", "diagnose", body, Answer)

    def snapshots(self) -> Call[list[Answer]]:
        """Return every snapshot; see ``Collection.snapshots``."""
        return Call("GET", "snapshots", None, lambda found: [Answer(one) for one in found["snapshots"]])

    def snapshot(self, name: str) -> Call[Answer]:
        """Keep the present state under a name; see ``Collection.snapshot``.

        Parameters
        ----------
        name
            As in ``Collection.snapshot``.

        Returns
        -------
        Call[Answer]
            The request.
        """
        return Call("POST", "snapshots", {"name": name}, Answer, repeatable=False)

    def drop_snapshot(self, name: str) -> Call[None]:
        """Forget a snapshot; see ``Collection.drop_snapshot``.

        Parameters
        ----------
        name
            As in ``Collection.drop_snapshot``.

        Returns
        -------
        Call[None]
            The request.
        """
        return Call("DELETE", f"snapshots/{quote(name, safe='')}", None, _nothing, repeatable=False)

    def restore(self, name: str) -> Call[Answer]:
        """Go back to a snapshot; see ``Collection.restore``.

        Parameters
        ----------
        name
            As in ``Collection.restore``.

        Returns
        -------
        Call[Answer]
            The request.
        """
        return Call("POST", f"snapshots/{quote(name, safe='')}/restore", {}, Answer, repeatable=False)


def _nothing(found: Any) -> None:
    return None


_PACKED: dict[str, Callable[[Any], Any]] = {
    "query": pack_query,
    "queries": lambda queries: [pack_query(query) for query in queries],
    "vector": pack_named,
    "vectors": pack_rows,
    "sparse_vector": lambda terms: pack_rows([terms])[0] if isinstance(terms, Mapping) else pack_rows(terms)[0],
    "sparse_vectors": pack_rows,
}


def _asked(given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as a body; those that say nothing are left out."""
    out = {name: value for name, value in given.items() if name not in ("self", "positive", "negative")}
    if isinstance(out.get("queries"), str):
        raise InputError(message("queries as one str", "a list of queries", "call search, or write [query]"))
    if out.get("rerank") is not None and not isinstance(out["rerank"], str):
        raise InputError(
            message(
                "a reranker that is an object", "'tokens'", "rerank what comes back, or serve the collection with it"
            )
        )
    return {
        name: _PACKED[name](value) if name in _PACKED else value for name, value in out.items() if value is not None
    }


def _examples(given: Any) -> Any:
    if isinstance(given, str):
        return given
    # A bare vector is one example.
    bare = getattr(given, "ndim", 0) == 1 or isinstance(given, array)
    return [pack_query(given)] if bare else [one if _is_plain(one) else pack_query(one) for one in given]


def _is_plain(one: Any) -> bool:
    return isinstance(one, (str, int, float))


def _list(given: Any) -> Any:
    """Any sequence as a list; one text is left to the server, which refuses it with a reason."""
    return given if given is None or isinstance(given, str) else list(given)
