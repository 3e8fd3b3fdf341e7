"""What a collection offers for the size of its vectors: choosing codes, searching by them, taking them back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from orthant.collection.compression.outcome import CompressionOutcome
from orthant.collection.compression.searched import graph_candidate
from orthant.collection.spaces import require_dense
from orthant.collection.storage import merging
from orthant.collection.storage.generation import Generation, SpaceState
from orthant.collection.storage.settings.compression import StoredCompression
from orthant.encoders.progress import progress_bar
from orthant.errors import InputError, NotFoundError, message
from orthant.kernels.bitmaps import contains_rows
from orthant.types import FloatArray, Metric
from orthant.validate import as_vectors, check_count, check_fraction

if TYPE_CHECKING:
    from orthant.collection.storage.store import Store
    from orthant.quantization.comparing import Candidate

__all__ = ["CompressionMethods"]

_SAMPLE_ROWS, _HELD_ROWS, _SAMPLE_QUERIES = 20_000, 200, 200


class CompressionMethods:
    """The part of a collection that shrinks what searches hold in memory; see :class:`Collection`."""

    _store: Store

    if TYPE_CHECKING:
        # What QueryMethods brings.
        def _query_vectors(self, queries: Any, space: str, dim: int) -> npt.ArrayLike: ...

    def compress(
        self,
        *,
        budget_bytes: int | None = None,
        recall: float | None = None,
        space: str = "default",
        queries: Sequence[str] | npt.ArrayLike | None = None,
        k: int = 10,
        rescored_rows: int = 50,
        candidates: Sequence[str] | None = None,
        apply: bool = False,
        undo: bool = False,
        seed: int = 0,
        progress: bool = False,
    ) -> CompressionOutcome:
        """Measure what each kind of compression loses on the vectors of a space, and switch to the best if asked to.

        For collections whose vectors or graph do not fit the memory that you want to give them. Codes are compared by a
        scan, and the best rows are scored again with the full vectors, which stay where they are, on disk.

        Parameters
        ----------
        budget_bytes : int, optional
            Bytes that the code of a vector may take; the best recall within it is recommended.
        recall : float, optional
            Recall wanted, from 0 to 1; the smallest codes that reach it are recommended. Once applied, searches that
            ask for none keep it. With neither constraint 0.95.
        space : str, default "default"
            A space of vectors.
        queries : sequence of str, or array-like of shape (q, dim), optional
            Real queries, some hundreds. Left out, rows are held out, which say little about queries of another kind.
        k : int, default 10
            Neighbours that recall is measured for.
        rescored_rows : int, default 50
            Rows scored again, at least k. More find more and read more from disk.
        candidates : sequence of str, optional
            Names to choose from, such as ``["lvq4", "opq48"]``; see ``quantization.choices.named_choice``. One name is
            taken where it meets the constraints. Left out, those of ``quantization.report``.
        apply : bool, default False
            Encode every vector and search by the codes from now on.
        undo : bool, default False
            Take codes back: the space gets a graph, or is scanned, as if it had never been compressed. Where there are
            none, nothing changes and ``undone`` is False.
        seed : int, default 0
            Of the samples.
        progress : bool, default False
            Show the measuring and the encoding.

        Returns
        -------
        CompressionOutcome
            The report, what was applied, and its recall over the whole space.

        Raises
        ------
        InputError
            Fewer than 1,000 vectors, a budget below the smallest code, a recall out of range, unknown codes, ``apply``
            where nothing meets the constraints, or ``undo`` beside another setting.
        NotFoundError
            No such space of vectors.
        StoreReadOnlyError, StoreLockedError
            ``apply`` or ``undo`` where nothing can be written.

        Notes
        -----
        At most 20,000 vectors and 200 queries are looked at; recall over more vectors is a
        little lower, so it is measured again over all when applied. A row takes 8 bytes besides its code, and 4 more
        under cosine for codes other than binary ones and those after LeanVec. A search
        reads every code: cost O(n bytes). A graph reads far less and holds links, codes and signs for each vector,
        540 bytes at 384 dimensions (``Graph.estimate_memory``): where these fit, it is the better choice.
        Codes are one derived file of a generation: they follow writes as graphs do, survive reopening, are verified and
        made anew when damaged, and snapshots keep them. They take the place of a graph together with the queries that
        it was tuned to: tune again after an undo.
        """
        given: dict[str, Any] = {
            "budget_bytes": budget_bytes,
            "recall": recall,
            "queries": queries,
            "candidates": candidates,
        }
        idle = [name for name, value in given.items() if value is not None] + (["apply"] if apply else [])
        if undo:
            if idle:
                raise InputError(message(f"undo beside {idle[0]}", "undo alone", "call compress twice"))
            return self._undo_compression(space, progress=progress)
        if apply:
            # Refused before the work, not after it.
            with self._store.writer():
                pass
        now = self._store.refreshed()
        state = _space(now, space)
        live = state.live_count(now.live)
        if live < merging.CODED_FROM:
            expected = f"at least {merging.CODED_FROM}: codes learned from fewer stand for nothing"
            raise InputError(message(f"{live} vectors", expected, "leave them: a scan of so few is exact and quick"))
        _check(state, live, budget_bytes, recall, candidates, k, rescored_rows)
        metric: Metric = state.definition.metric
        asked = None if queries is None else self._questions(queries, state, space)
        # Without queries some of the rows are held out to ask with.
        X = _sample(state, now, _SAMPLE_ROWS + (_HELD_ROWS if asked is None else 0), seed)
        from orthant.quantization.comparing import report as compare

        settings: dict[str, Any] = {"k": k, "metric": metric, "rescored_rows": rescored_rows, "seed": seed}
        today = graph_candidate(state, asked, k=k, most=_SAMPLE_QUERIES, seed=seed)
        with progress_bar(1, shown=progress, label="measuring codes") as advance:
            found = compare(
                X,
                asked,
                budget_bytes=budget_bytes,
                recall=recall,
                candidates=candidates,
                beside=() if today is None else (today,),
                sample_rows=_SAMPLE_ROWS,
                sample_queries=_SAMPLE_QUERIES,
                advance=advance,
                **settings,
            )
        if live > len(X):
            note = f"Measured on {found.rows} of the {live} vectors of the space; recall over all is a little lower."
            found = replace(found, notes=(*found.notes, note))
        found = replace(found, notes=(*found.notes, *_beside_a_graph(today)))
        outcome = CompressionOutcome(space, live, found, setting=_told(state.compression))
        return self._apply_compression(outcome, recall, asked, progress=progress) if apply else outcome

    def _questions(self, queries: Any, state: SpaceState, space: str) -> FloatArray:
        given = self._query_vectors(queries, space, state.definition.dim)
        cosine = state.definition.metric == "cosine"
        found = as_vectors(given, dim=state.definition.dim, name="queries", nonzero=cosine)
        if not len(found):
            raise InputError(message("no queries", "at least one", "pass some or leave them out"))
        return found

    def _apply_compression(
        self, outcome: CompressionOutcome, recall: float | None, queries: FloatArray | None, *, progress: bool
    ) -> CompressionOutcome:
        found = outcome.report
        if found is None or found.recommended in (None, "float32"):
            reason = "" if found is None else found.reason
            raise InputError(message(f"nothing to apply ({reason})", "codes that meet the constraints", "relax one"))
        chosen = found[found.recommended]
        about = {
            "bytes_per_vector": chosen.bytes_per_vector,
            "sample": {"rows": found.rows, "queries": found.queries, "k": found.k},
            "sample_recall": chosen.recall_rescored if found.rescore else chosen.recall,
        }
        depth = found.rescored_rows if found.rescore else found.k
        setting = StoredCompression(chosen.name, depth, recall, about)
        self._store.show_progress = progress
        merging.recode(self._store, outcome.space, setting, queries=queries)
        now = self._store.refreshed()
        return replace(
            outcome, applied=True, setting=setting.to_dict(), measured=_measured(now.spaces[outcome.space], found.k)
        )

    def _undo_compression(self, space: str, *, progress: bool) -> CompressionOutcome:
        with self._store.writer() as now:
            state = _space(now, space)
            held = state.compression is not None
            if held:
                self._store.show_progress = progress
                merging.recode(self._store, space, None)
        return CompressionOutcome(space, state.live_count(now.live), None, undone=held)


def _space(now: Generation, name: str) -> SpaceState:
    if name in now.upgrade.filling:
        given, expected = f"space {name!r}, which an upgrade is filling", "a space that is whole"
        raise InputError(message(given, expected, "finish the upgrade first"))
    if name not in now.spaces:
        expected = f"a space of vectors: {', '.join(now.spaces) or 'none yet'}"
        raise NotFoundError(message(f"space {name!r}", expected, "check the name"))
    require_dense(now.spaces[name].definition, remedy="make searches by tokens cheaper with index_tokens")
    return now.spaces[name]


def _check(
    state: SpaceState,
    live: int,
    budget_bytes: int | None,
    recall: float | None,
    candidates: Sequence[str] | None,
    k: int,
    rescored_rows: int,
) -> None:
    from orthant.quantization.choices import default_candidates, size_of

    if check_count(k, name="k") >= live:
        raise InputError(message(f"k={k}", f"fewer than the {live} vectors of the space", "ask for fewer neighbours"))
    if check_count(rescored_rows, name="rescored_rows") < k:
        raise InputError(message(f"rescored_rows={rescored_rows} for k={k}", "at least k", "rescore more, or lower k"))
    if recall is not None:
        check_fraction(recall, name="recall")
    if isinstance(candidates, str) or (candidates is not None and not len(candidates)):
        raise InputError(message(f"candidates={candidates!r}", "a list of names", "leave it out for the usual ones"))
    dim, metric = state.definition.dim, state.definition.metric
    if budget_bytes is None:
        for name in candidates or ():
            size_of(name, dim=dim, metric=metric)
        return
    check_count(budget_bytes, name="budget_bytes")
    usual = default_candidates(dim, metric, rows=live, budget_bytes=budget_bytes)
    sizes = {name: size_of(name, dim=dim, metric=metric) for name in (usual if candidates is None else candidates)}
    if budget_bytes < min(sizes.values()):
        least = min(sizes, key=lambda name: sizes[name])
        expected = f"at least {sizes[least]}, the bytes of {least}"
        remedy = "raise the budget, or pass " + ("candidates" if candidates is None else "smaller codes")
        raise InputError(message(f"budget_bytes={budget_bytes}", expected, remedy))


def _sample(state: SpaceState, now: Generation, most: int, seed: int) -> FloatArray:
    """Vectors to measure on, in the order of rows."""
    rows = np.sort(np.concatenate([view.rows[contains_rows(now.live, view.rows)] for view in state.segments]))
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
    return state.vectors_of(rows)[1]


def _beside_a_graph(today: Candidate | None) -> list[str]:
    if today is None:
        return []
    return [
        f"The row 'graph' is what the space searches today, measured over all its rows: {today.bytes_per_vector} "
        "bytes a vector. Codes take its place: less memory, and every search reads all of them."
    ]


def _told(setting: StoredCompression | None) -> dict[str, Any] | None:
    return None if setting is None else setting.to_dict()


def _measured(state: SpaceState, k: int) -> dict[str, Any] | None:
    index = state.attached_graph()
    calibration = None if index is None else index.calibration
    if calibration is None:
        return None
    depth, expected = index.default_depth(k)  # type: ignore[union-attr]
    told = {"queries": calibration.count, "source": calibration.source}
    return {"k": k, "recall": expected, "rescored_rows": depth, **told}
