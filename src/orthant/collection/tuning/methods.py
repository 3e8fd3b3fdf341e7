"""What a collection offers for its fusion: learning weights, storing them, taking them back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy.typing as npt

from orthant.collection import fusion as fusing
from orthant.collection.searching import Mode, Query, SearchOptions
from orthant.collection.storage.settings.fusion import StoredFusion, write_fusion
from orthant.collection.tuning.stored import legs_at_hand
from orthant.errors import InputError, message
from orthant.validate import check_choice

if TYPE_CHECKING:
    from orthant.collection.space_encoders import SpaceEncoders
    from orthant.collection.storage.store import Store
    from orthant.collection.tuning.report import FusionReport

__all__ = ["FusionMethods"]


class FusionMethods:
    """The part of a collection that learns and keeps how its legs are fused; see :class:`Collection`."""

    _store: Store
    _encoders: SpaceEncoders

    if TYPE_CHECKING:
        # What CollectionReader brings.
        def _prepared(
            self,
            queries: Sequence[str | npt.ArrayLike | None],
            vectors: Sequence[npt.ArrayLike] | npt.ArrayLike | None,
            *,
            mode: Mode | None,
            space: str,
            k: int,
            **settings: Any,
        ) -> tuple[list[Query], SearchOptions | None]: ...

    @property
    def fusion(self) -> dict[str, Any] | None:
        """What ``set_fusion`` or ``tune_fusion`` stored, with where it came from; None for the default."""
        stored = self._store.refreshed().fusion
        return None if stored is None else stored.to_dict()

    def tune_fusion(
        self,
        judgements: Mapping[str, Any] | None = None,
        *,
        queries: Mapping[str, str] | None = None,
        qrels: Mapping[str, Any] | None = None,
        metric: str = "ndcg@10",
        folds: int = 5,
        methods: Sequence[Literal["minmax", "rrf"]] = ("minmax", "rrf"),
        seed: int = 0,
        alpha: float = 0.05,
        where: Mapping[str, Any] | None = None,
        space: str = "default",
        depth: int | None = None,
        syntax: Literal["operators", "plain"] = "plain",
        legs: Sequence[str] | None = None,
        apply: bool = False,
        advance: Callable[[int], None] | None = None,
    ) -> FusionReport:
        """Learn fusion weights of hybrid searches from judged queries, and test whether they are better.

        Use it with some dozens of judged queries of your own users. It recommends new weights only where held-out
        queries show them to be better than those in use; otherwise it says to keep them.

        Parameters
        ----------
        judgements : mapping, optional
            ``{query text: {record id: grade}}``, or ``{query text: [relevant id, ...]}``.
        queries : mapping of str to str, optional
            Instead: text by query id, with ``qrels``.
        qrels : mapping, optional
            ``{query id: {record id: grade}}``, or ``{query id: [relevant id, ...]}``.
        metric : str, default "ndcg@10"
            What to maximise; see ``orthant.measures.check_metric_name``. Without a cut-off 100 hits are looked at.
        folds : int, default 5
            Parts of the queries, at least 2. More leave more queries for each choice.
        methods : sequence of {"minmax", "rrf"}, default both
            Ways of fusing to choose from.
        seed : int, default 0
            Of the folds and the tests.
        alpha : float, default 0.05
            Chance of recommending a change where nothing is better. Smaller asks for stronger evidence.
        where : mapping, optional
            Only records that match, as your searches restrict them.
        space : str, default "default"
            Vector space of the dense leg.
        depth : int, optional
            Candidates per leg, default 200, as your searches have it.
        syntax : {"plain", "operators"}, default "plain"
            Whether punctuation in the queries means nothing, or is read as operators.
        legs : sequence of {"dense", "lexical", "tokens", "sparse"}, optional
            Legs to weigh, ``"lexical"`` among them. Left out, all whose encoder is at hand. Each further leg costs
            every search that uses the weights its time.
        apply : bool, default False
            Store the weights if they are recommended; ``reset_fusion`` takes them back.
        advance : callable of int, optional
            Told how many further queries are searched.

        Returns
        -------
        FusionReport
            The choice, held-out figures with tests and intervals, a recommendation.

        Raises
        ------
        InputError
            Fewer than 20 queries with a relevant record, judged ids of which no record has any, fewer than two legs,
            a setting out of range.
        StoreReadOnlyError, StoreLockedError
            ``apply`` where nothing can be written.

        Notes
        -----
        Every query is searched once; the scores of its candidates give every fusion by arithmetic, in steps of 0.05
        for two legs. Each fold of the queries is valued under the weights that the others choose; gains and bootstrap
        intervals are of these values. Folds share queries, so intervals are somewhat too narrow, and a test of these
        values would recommend too often. So the recommendation rests on a randomisation test that repeats the choice
        among all weights in every resample.
        """
        from orthant.collection.tuning.judging import check_judgements
        from orthant.collection.tuning.learning import check_wish, tune

        judged = check_judgements(judgements, queries, qrels)
        wish = check_wish(judged, metric=metric, folds=folds, methods=methods, seed=seed, alpha=alpha)
        if apply:
            # Refused before the work, not after it.
            with self._store.writer():
                pass
        chosen = self._weighed(legs, space)
        ready, options = self._prepared(
            judged.texts,
            None,
            mode="hybrid",
            space=space,
            k=1,
            where=where,
            offset=0,
            min_score=None,
            # Any weights turn the legs on; what they are does not change what the legs bring.
            weights=dict.fromkeys(chosen, 1.0),
            method=None,
            depth=depth,
            recall=None,
            effort=None,
            threads=None,
            explain=False,
            include_text=False,
            syntax=syntax,
        )
        if options is None:
            raise InputError(message("no query", "judged queries", "pass some"))
        present = self._store.refreshed().fusion or StoredFusion("minmax", fusing.DEFAULT_WEIGHTS)
        weights = {leg: present.weights.get(leg, 0.0) for leg in chosen}
        if not any(weights.values()):
            weights = fusing.check_weights(None, legs=chosen)
        options = replace(options, weights=weights, fusion=present.method)  # type: ignore[arg-type]
        report = tune(self._store, ready, options, judged, wish, advance=advance)
        if not (apply and report.recommended):
            return report
        c = report.against("present")
        about = {"metric": c.metric, "queries": c.queries, "gain": c.difference, "low": c.low, "high": c.high}
        about["p_value"] = report.p_value
        self._store_fusion(
            StoredFusion(report.chosen["fusion"], report.chosen["weights"], {"source": "tuned", **about})
        )
        return replace(report, applied=True)

    def _weighed(self, legs: Sequence[str] | None, space: str) -> list[str]:
        """Return the legs to weigh, each of which can be run."""
        further = legs_at_hand(self._store.refreshed(), self._encoders)
        if legs is None:
            self._require_encoder(space)
            return ["dense", "lexical", *(leg for leg in fusing.LEGS if leg in further)]
        chosen = [check_choice(leg, fusing.LEGS, name="a leg") for leg in dict.fromkeys(legs)]
        if isinstance(legs, str) or len(chosen) < 2 or "lexical" not in chosen:
            given = f"legs={legs!r}"
            raise InputError(message(given, "'lexical' and another one", "the words of a hybrid search always count"))
        if "dense" in chosen:
            self._require_encoder(space)
        for leg in ("tokens", "sparse"):
            if leg in chosen and leg not in further:
                given = f"the leg {leg!r} without one space whose encoder is at hand"
                raise InputError(message(given, "such a space", "add it, or give it its encoder by use_encoder"))
        return chosen

    def _require_encoder(self, space: str) -> None:
        if not self._encoders.at_hand(space):
            raise InputError(
                message(
                    f"space {space!r} without an encoder at hand, so that only the words of a query are searched",
                    "two legs to weigh",
                    "open the collection with its encoder, or keep mode='lexical'",
                )
            )

    def set_fusion(
        self, weights: Mapping[str, float] | None = None, *, fusion: Literal["minmax", "rrf"] = "minmax"
    ) -> None:
        """Store the default fusion method and weights of hybrid searches; durable on return.

        Parameters
        ----------
        weights : mapping of str to float, optional
            Weight of every leg, as for ``search``, those of tokens and sparse vectors included; they are scaled to sum
            1. Default 0.4 dense and 0.6 lexical.
        fusion : {"minmax", "rrf"}, default "minmax"
            The method that they belong to. A call that names the other one gets the default weights.

        Raises
        ------
        InputError
            Unknown legs, negative weights or none above 0.
        StoreReadOnlyError, StoreLockedError
            Nothing can be written.

        Notes
        -----
        It is a commit of its own, so readers in other processes follow. A snapshot keeps the setting of its time, and
        restoring one brings it back. Exports do not carry it.
        """
        checked = fusing.check_weights(weights)
        method = check_choice(fusion, ("minmax", "rrf"), name="fusion")
        self._store_fusion(StoredFusion(method, checked, {"source": "set"}))

    def reset_fusion(self) -> bool:
        """Remove stored fusion weights, so that hybrid searches use the default again; durable on return.

        Returns
        -------
        bool
            Whether any were stored.
        """
        stored = self._store.refreshed().fusion is not None
        if stored:
            self._store_fusion(None)
        return stored

    def _store_fusion(self, setting: StoredFusion | None) -> None:
        with self._store.writer() as now:
            following = replace(now, number=now.number + 1, fusion=setting)
            self._store.publish(following, lambda connection: write_fusion(connection, setting))
