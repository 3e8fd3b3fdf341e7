"""What a collection offers for the speed of its tokens: how candidates are found, and what that loses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from orthant.collection.storage import graphs
from orthant.collection.storage.files import storage_error
from orthant.collection.storage.settings.shortcuts import StoredShortcut, write_shortcut
from orthant.collection.tokens.queries import as_matrices, query_tokens, token_space
from orthant.collection.tokens.reporting import TokenReport
from orthant.errors import InputError, message
from orthant.kernels.bitmaps import contains_rows
from orthant.validate import as_ragged, as_texts, check_choice, check_count

if TYPE_CHECKING:
    from orthant.collection.reading import CollectionReader
    from orthant.collection.storage.generation import Generation
    from orthant.collection.storage.store import Store
    from orthant.index.multivector.attached import SetCodes
    from orthant.types import Ragged

__all__ = ["ShortcutMethods", "check_shortcut"]

_LEAST_BELOW = 100


def check_shortcut(method: str, exact_below: int) -> StoredShortcut:
    """Return how a space of tokens is to find candidates.

    Parameters
    ----------
    method : str
        As for ``index.MultiVector``.
    exact_below : int
        At least 100.

    Returns
    -------
    StoredShortcut
        With nothing measured.

    Raises
    ------
    InputError
        An unknown method, or too small a number.
    """
    from orthant.index.multivector.settings import METHODS

    check_choice(method, METHODS, name="method")
    return StoredShortcut(method, check_count(exact_below, name="exact_below", minimum=_LEAST_BELOW))


class ShortcutMethods:
    """The part of a collection that finds records by tokens without comparing all of them; see :class:`Collection`."""

    _store: Store

    def index_tokens(
        self,
        method: str | None = None,
        *,
        exact_below: int | None = None,
        space: str | None = None,
        progress: bool = False,
    ) -> dict[str, Any]:
        """Choose how a token space finds candidates, and build the index for it; durable on return.

        Below ``exact_below`` records every search by tokens compares all of them. Above, a smaller representation
        proposes candidates, whose tokens are compared exactly: scores never change, and a record can be missed.
        ``token_report`` says how many are.

        Parameters
        ----------
        method : {"auto", "pooled", "fde", "plaid", "exact"}, optional
            What proposes: means of tokens in a graph, fixed dimensional encodings, cells of tokens with residual codes,
            or whichever of the first two follows MaxSim better on a sample. ``"exact"`` compares everything at any
            size. Left out, as it is.
        exact_below : int, optional
            Records, or records that pass a filter, below which everything is compared; at least 100, at first 10,000.
            Too small a number saves little time and loses hits; a large one costs time for every search.
        space : str, optional
            The space of tokens; left out, the only one.
        progress : bool, default False
            Show the building.

        Returns
        -------
        dict
            The setting: ``method``, ``exact_below`` and what was measured.

        Raises
        ------
        InputError
            A value out of range, or no space of tokens.
        NotFoundError
            No such space.
        StoreReadOnlyError, StoreLockedError
            Nothing can be written.

        Notes
        -----
        The setting is a commit of its own and the codes another one; between the two everything is compared. Cost:
        reading all tokens once, and learning and encoding. A change of method forgets what was measured.
        """
        me = cast("CollectionReader", self)
        with self._store.writer() as now:
            name = token_space(space, me.spaces)
            before = now.spaces[name].shortcut
            wanted = check_shortcut(
                before.method if method is None else method,
                before.exact_below if exact_below is None else exact_below,
            )
            if wanted.method == before.method:
                wanted = replace(wanted, measured=before.measured, about=before.about)
            if wanted != before:
                _store_shortcut(self._store, now, name, wanted)
            self._store.finish_graphs(progress=progress)
            return self._store.generation.spaces[name].shortcut.to_dict()

    def token_report(
        self,
        queries: Sequence[Any],
        *,
        space: str | None = None,
        k: int = 10,
        efforts: Sequence[int] = (20, 50, 100, 200, 400),
        methods: Sequence[str] | None = None,
        apply: bool = False,
        threads: int | None = None,
    ) -> TokenReport:
        """Measure on your own queries how much recall a token search by candidates loses.

        Parameters
        ----------
        queries : sequence of str, or of array-like of shape (t, dim)
            Real queries, a hundred or more: texts, which are encoded, or their tokens.
        space : str, optional
            The space of tokens; left out, the only one.
        k : int, default 10
            True neighbours looked for.
        efforts : sequence of int, default (20, 50, 100, 200, 400)
            Candidates compared exactly, each at least k.
        methods : sequence of str, optional
            Some of "pooled", "fde" and "plaid". Left out, the method in use with mean pooling and PLAID beside it, or
            all three where everything is compared. Those that are not in use are built for the comparison.
        apply : bool, default False
            Store what was measured of the method in use, so that ``search(recall=...)`` goes by it.
        threads : int, optional
            Left out, all that the process may use.

        Returns
        -------
        TokenReport
            Recall with its interval, candidates, products and bytes by method and effort; prints as a table.

        Raises
        ------
        InputError
            No queries, an empty space, a k above its records, an unknown method, efforts below k, none of either, or
            ``apply`` where everything is compared or the method in use is not measured.
        StoreReadOnlyError, StoreLockedError
            ``apply`` where nothing can be written.

        Notes
        -----
        Cost: an exact search of all queries, a build for each method that is not in use, and a search for each effort.
        Records that are newer than the codes are left out, as are deleted ones; ``finish`` brings the new ones in.
        """
        me = cast("CollectionReader", self)
        name = token_space(space, me.spaces)
        if apply:
            # Refused before the work, not after it.
            with self._store.writer():
                pass
        now = self._store.refreshed()
        index, using = _measured(now, name)
        if apply:
            _require_stored(name, using, methods)
        wanted = methods
        if methods is None and using is not None:
            wanted = tuple(dict.fromkeys((using, "pooled", "plaid")))
        found = index.report(self._asked(queries, name), k=k, efforts=efforts, methods=wanted, threads=threads)
        report = TokenReport(found, using, now.spaces[name].live_records(now.live) - len(index))
        if not apply:
            return report
        with self._store.writer() as now:
            _store_shortcut(self._store, now, name, report.stored(now.spaces[name].shortcut))
        return replace(report, applied=True)

    def _asked(self, queries: Sequence[Any], name: str) -> Ragged:
        me = cast("CollectionReader", self)
        definition, matrices = me.spaces[name], as_matrices(queries)
        texts = [None] * len(queries) if matrices is not None else list(as_texts(queries, name="queries"))
        given = query_tokens(texts, matrices, definition, lambda: me._encoders.require(name))
        # What has no token that counts has no neighbours.
        return as_ragged([one for one in given if one is not None], dim=definition.dim, name="queries")


def _measured(now: Generation, name: str) -> tuple[SetCodes, str | None]:
    """Return what can be measured: the codes in use and their method, or all sets without codes."""
    from orthant.index.multivector.attached import SetCodes

    space = now.spaces[name]
    index = space.attached_graph()
    if index is not None:
        ids = index.ids()
        # Searches mask what was deleted since; here it would be somebody's neighbour.
        dead = ids[~contains_rows(now.live, ids)]
        return (index.extended([], removed=dead) if len(dead) else index), str(index.method)
    blocks = space.blocks()
    return SetCodes.over(blocks, dim=space.definition.dim, method="exact", live=now.live), None


def _require_stored(name: str, using: str | None, methods: Sequence[str] | None) -> None:
    """Refuse to store a report, before it is made, that says nothing about the method in use."""
    if using is None:
        given = f"apply=True for space {name!r}, in which everything is compared"
        raise InputError(message(given, "a space with a shortcut", "make one with index_tokens, or leave it out"))
    if methods is not None and using not in methods:
        given = f"apply=True for space {name!r} without its method {using!r} among those measured"
        raise InputError(message(given, "figures of the method in use", "add it, or leave methods out"))


def _store_shortcut(store: Store, now: Generation, name: str, setting: StoredShortcut) -> None:
    """Commit a setting; the codes of another method are forgotten with it."""
    space = now.spaces[name]
    graph = space.graph if setting.codes == space.codes else None
    spaces = {**now.spaces, name: replace(space, shortcut=setting, graph=graph)}
    following = replace(now, number=now.number + 1, spaces=spaces, _indexes={})
    place = space.definition.place
    try:
        store.publish(following, lambda connection: write_shortcut(connection, place, setting))
        if graph is None:
            graphs.keep_only(store.path, place, -1)
    except OSError as error:
        raise storage_error(error, store.path, "write") from error
