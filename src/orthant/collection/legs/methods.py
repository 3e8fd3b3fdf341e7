"""What a collection offers for several spaces at once: a search is prepared for each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from orthant.collection.adapting.asking import adapted
from orthant.collection.legs.spaces import given_vectors, query_texts, space_shares, with_space
from orthant.collection.querying import check_options, encode_queries
from orthant.collection.searching import Query, SearchOptions
from orthant.collection.sparse.leg import question
from orthant.collection.upgrade.asking import for_bridge, same_space

if TYPE_CHECKING:
    from orthant.collection.reading import CollectionReader
    from orthant.collection.stages.options import StageOptions

__all__ = ["SpacesReading"]


class SpacesReading:
    """The part of a collection that searches several spaces together; see :class:`Collection`."""

    def _across(
        self,
        queries: Sequence[Any],
        vectors: Any,
        wanted: Any,
        *,
        mode: str | None,
        named: bool,
        stages: StageOptions,
        sparse: tuple[Any, str | None],
        **settings: Any,
    ) -> tuple[list[Query], SearchOptions | None]:
        """Check what a search over several spaces was given; no options where there is no query."""
        me = cast("CollectionReader", self)
        texts = query_texts(queries)
        if not texts:
            return [], None
        now = me._store.refreshed()
        shares = space_shares(wanted, now, mode=mode, weights=settings.pop("weights", None), default=not named)
        given = given_vectors(vectors, texts, shares)
        terms, asked = sparse[0], None
        if shares.sparse is not None:
            asked = question(texts, terms, space=shares.sparse[0], spaces=now.sparse, encoders=me._encoders)
            settings |= {"sparse_space": asked.space, "vocabulary": asked.vocabulary}
        held = {name: now.spaces[name].definition for name in shares.dense}
        options = check_options(
            "hybrid",
            records=now.count,
            space="",
            stages=stages,
            weights=shares.weights,
            spaces={name: definition.fingerprint for name, definition in held.items()},
            **settings,
        )
        ready = [Query(text, None) for text in texts]
        for name, definition in held.items():
            with same_space(me._store, now, name):
                own = encode_queries(
                    texts, given.get(name), mode="dense", space=name, definition=definition, encoders=me._encoders
                )
            own, _ = for_bridge(adapted(own, now, name), replace(options, space=name), now, me._encoders)
            ready = with_space(ready, own, name)
        return ready if asked is None else asked.added_to(ready), options
