"""What a collection offers for learning from feedback: an adapter for the queries of a space, and the way back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from orthant.collection.adapting.state import StoredAdapter, write_adapters
from orthant.collection.upgrade.state import ADAPTED
from orthant.errors import EncoderMismatchError, InputError, NotFoundError, message
from orthant.validate import as_vectors, check_choice, check_count, check_fraction

if TYPE_CHECKING:
    from orthant.collection.adapting.report import AdaptReport
    from orthant.collection.space_encoders import SpaceEncoders
    from orthant.collection.storage.generation import Generation
    from orthant.collection.storage.store import Store

__all__ = ["AdaptMethods"]


class AdaptMethods:
    """The part of a collection that learns from pairs of queries and records; see :class:`Collection`."""

    _store: Store
    _encoders: SpaceEncoders

    @property
    def adapters(self) -> dict[str, dict[str, Any]]:
        """Adapters by space: kind, rank, whether in use, and what was measured when they were stored."""
        now = self._store.refreshed()
        return {name: stored.to_dict(_fingerprint(now, name)) for name, stored in now.adapters.items()}

    def adapt(
        self,
        pairs: Any,
        *,
        space: str = "default",
        sides: Literal["auto", "query", "both"] = "auto",
        held_out: float = 0.2,
        group_by: str | None = None,
        kind: Literal["linear", "memory"] = "linear",
        rank: int | None = None,
        alpha: float = 0.05,
        seed: int = 0,
        apply: Literal["if-significant"] | bool = "if-significant",
    ) -> AdaptReport:
        """Learn an adapter for a space from pairs of queries and the records that they should have found.

        Use it with some hundreds of pairs from clicks, tickets or judgements, where the encoder cannot be trained.
        Nothing is encoded again, and records keep their vectors where queries alone are corrected. It changes searches
        only where queries that it has not seen are better served.

        Parameters
        ----------
        pairs : iterable of (query, id), mapping of str to ids, path, or table
            Tuples of a text, or a vector, and a record's id; ``{text: [id, ...]}`` or ``{text: {id: grade, ...}}``, of
            which grades above 0 count; or rows with fields ``query`` and ``id``: a path to JSON lines or CSV, a list of
            dicts, a table.
        space : str, default "default"
            The vector space; its metric is cosine.
        sides : {"auto", "query", "both"}, default "auto"
            ``"query"`` leaves records as they are. ``"both"`` corrects records as well, which suits questions and
            answers of different kinds. If it is applied, every stored vector is moved into a further generation of the
            space, which is indexed and takes the place of the former one in one commit; that stays beside it until
            ``reset_adapter`` brings it back, to the byte, or ``keep_adapter`` lets it go. Meanwhile the encoder cannot
            be replaced. ``"auto"`` learns either and keeps the one that better serves a part of the pairs to learn
            from, which is set aside; no held-out query has a say in that. It is ``"query"`` where records cannot be
            moved: the space's encoder is not at hand, or another space has a generation that waits.
        held_out : float, default 0.2
            Share of the pairs that judge. Too few cannot show a gain, too many leave few to learn from.
        group_by : str, optional
            Field of the records whose values are held out whole, such as a module or a customer: then the figures are
            of kinds of records that it has not seen, and lower. Left out, records are held out.
        kind : {"linear", "memory"}, default "linear"
            See ``orthant.transforms.ResidualAdapter``.
        rank : int, optional
            Default 32 for queries alone and 128 for both. More can express more, and needs more pairs.
        alpha : float, default 0.05
            Chance of a recommendation where nothing is better.
        seed : int, default 0
            Of the split, the training and the tests.
        apply : {"if-significant", True, False}, default "if-significant"
            Use it for searches from now on where it is recommended, where anything was learned, or not at all.
            ``reset_adapter`` takes it back.

        Returns
        -------
        AdaptReport
            Held-out figures, a recommendation, and whether it was applied.

        Raises
        ------
        InputError
            Fewer than 20 pairs to learn from or 20 held-out queries, ids that no record has, a space that is not
            searched by cosine or is being upgraded, a setting out of range; for ``sides="both"``, a space without an
            encoder, or whose records are corrected already.
        NotFoundError
            No such space.
        StoreReadOnlyError, StoreLockedError
            Something is to be applied, and nothing can be written.

        Notes
        -----
        Queries whose text occurs in both parts teach nothing. Both figures are of the encoder without any stored
        adapter, over an exact search of the dense leg; a hybrid search gains less. One that is stored is replaced.
        Query vectors that a caller passes to ``search`` are corrected as well; searches by example are not.
        Cost: the encoding of the queries, seconds of training (``"auto"``: of both kinds), two scans for the held-out
        queries.

        References
        ----------
        Augmented Embeddings for Custom Retrievals. arXiv 2310.05380, 2023.
        """
        from orthant.collection.adapting.learning import gathered, judged
        from orthant.collection.adapting.pairs import check_pairs
        from orthant.transforms.adaptation.adapter import ResidualAdapter

        if apply not in (True, False, "if-significant"):
            raise InputError(message(f"apply={apply!r}", "'if-significant', True or False", "choose one"))
        share = check_fraction(held_out, name="held_out", low=0.01, high=0.9)
        level, seed = check_fraction(alpha, name="alpha"), check_count(seed, name="seed", minimum=0)
        sided: Any = check_choice(sides, ("auto", "query", "both"), name="sides")
        self._require_adaptable(space, sided)
        if apply:
            # Refused before the work, not after it.
            with self._store.writer():
                pass
        found = check_pairs(pairs)
        dim = self._store.refreshed().spaces[space].definition.dim
        if sided == "auto" and not self._can_move(space):
            sided = "query"
        # Records that are moved need an encoder for those that come later.
        base = self._encoders.require(space) if sided != "query" else None
        raw = found.vectors
        if raw is None:
            raw = self._encoders.require(space).encode(found.texts, role="query")
        material = gathered(self._store, found, as_vectors(raw, dim=dim, name="query vectors"), space, group_by)
        print_ = material.now.spaces[space].definition.fingerprint
        adapter = ResidualAdapter(sides=sided, kind=kind, rank=rank, seed=seed, source=print_, target=print_)
        report = judged(
            material, adapter, space=space, held_out=share, seed=seed, alpha=level, split_by=group_by or "record"
        )
        if not (report.best_epoch and (apply is True or (apply and report.recommended))):
            return report
        names = ("metric", "before", "after", "low", "high", "p_value", "queries", "trained_pairs", "split_by")
        about = {name: getattr(report, name) for name in names}
        if base is None or report.sides == "query":
            self._store_adapter(space, StoredAdapter(space, print_, adapter, about))
        else:
            self._move_records(space, base, adapter, about)
        return replace(report, applied=True)

    def _move_records(self, space: str, base: Any, adapter: Any, about: dict[str, Any]) -> None:
        from orthant.collection.adapting.items import AdaptedEncoder, make_generation

        encoder = AdaptedEncoder(base, adapter)
        plan = make_generation(self, space, encoder)
        stored = StoredAdapter(space, encoder.fingerprint, adapter, about, base.fingerprint)
        # Before the cut-over: until then its fingerprint is not the space's, and no query is moved by it.
        self._write_adapters(space, stored)
        plan.commit()

    def keep_adapter(self, space: str = "default") -> bool:
        """Delete the vectors that a space had before its records were corrected; this cannot be undone.

        Parameters
        ----------
        space : str, default "default"
            The space.

        Returns
        -------
        bool
            Whether there were any.

        Raises
        ------
        NotFoundError
            No such space.
        StoreReadOnlyError, StoreLockedError
            Nothing can be written.
        """
        from orthant.collection.upgrade.cutover import drop_spaces

        _require_space(self._store.refreshed(), space)
        state = self._store.refreshed().upgrade
        if state.using != ADAPTED or state.space != space or not state.committed:
            return False
        drop_spaces(self._store, [state.former])
        return True

    def reset_adapter(self, space: str = "default") -> bool:
        """Remove a space's adapter, so that vectors are those of the encoder again; durable on return.

        Parameters
        ----------
        space : str, default "default"
            The space.

        Returns
        -------
        bool
            Whether there was one.

        Raises
        ------
        NotFoundError
            No such space.
        InputError
            Records were corrected, and ``keep_adapter`` let their former vectors go.
        StoreReadOnlyError, StoreLockedError
            Nothing can be written.
        """
        now = self._store.refreshed()
        stored = now.adapters.get(space)
        if stored is None:
            _require_space(now, space)
        if stored is not None and stored.base is not None and stored.fingerprint == _fingerprint(now, space):
            if now.upgrade.using != ADAPTED or now.upgrade.space != space:
                given = f"a way back for space {space!r}, whose former vectors were let go"
                raise InputError(message(given, "vectors before the correction", "upgrade() it to another encoder"))
            from orthant.collection.adapting.items import take_back

            take_back(self, space, str(stored.fingerprint))
        if stored is not None:
            self._store_adapter(space, None)
        return stored is not None

    def _can_move(self, space: str) -> bool:
        """Say whether corrected records could take the place of those stored."""
        now = self._store.refreshed()
        waiting = now.upgrade and not (now.upgrade.using == ADAPTED and not now.upgrade.committed)
        made = now.spaces[space].definition.fingerprint is not None
        return made and self._encoders.at_hand(space) and not waiting

    def _require_adaptable(self, space: str, sides: str) -> None:
        now = self._store.refreshed()
        _require_space(now, space)
        metric = now.spaces[space].definition.metric
        if metric != "cosine":
            given = f"space {space!r}, which is searched by {metric!r}"
            raise InputError(message(given, "cosine, which the loss is of", "adapt a space with metric='cosine'"))
        if sides == "both" and now.spaces[space].definition.fingerprint is None:
            given = f"sides='both' for space {space!r}, whose vectors no encoder made"
            raise InputError(message(given, "an encoder, for records that come later", "use sides='query'"))
        held = now.adapters.get(space)
        if held is not None and held.base is not None and held.fingerprint == _fingerprint(now, space):
            given = f"space {space!r}, whose records are corrected already"
            raise InputError(message(given, "records as the encoder gives them", "call reset_adapter() first"))
        if now.upgrade.using == ADAPTED and not now.upgrade.committed:
            # Left behind by a process that died; made anew.
            return
        if now.upgrade and space in (now.upgrade.space, now.upgrade.fresh, now.upgrade.former, now.upgrade.mapped):
            given = f"space {space!r}, whose encoder is being replaced"
            raise InputError(message(given, "one encoder", "finish the upgrade or roll it back first"))

    def _store_adapter(self, space: str, stored: StoredAdapter | None) -> None:
        with self._store.writer() as now:
            if stored is not None and _fingerprint(now, space) != stored.fingerprint:
                raise EncoderMismatchError(
                    message(
                        f"an adapter for {stored.fingerprint!r} where {space!r} has {_fingerprint(now, space)!r}",
                        "the encoder that it was learned with",
                        "adapt again",
                    )
                )
            self._write_adapters(space, stored)

    def _write_adapters(self, space: str, stored: StoredAdapter | None) -> None:
        with self._store.writer() as now:
            others = {name: held for name, held in now.adapters.items() if name != space}
            adapters = others if stored is None else {**others, space: stored}
            following = replace(now, number=now.number + 1, adapters=adapters)
            self._store.publish(following, lambda connection: write_adapters(connection, adapters))


def _require_space(now: Generation, space: str) -> None:
    if space not in now.spaces:
        raise NotFoundError(message(f"space {space!r}", "a vector space with records", "check the name"))


def _fingerprint(now: Generation, space: str) -> str | None:
    return now.spaces[space].definition.fingerprint if space in now.spaces else None
