"""What a collection offers for tokens: encoders of its spaces, and what searches ask of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from orthant.collection.space_encoders import load
from orthant.collection.tokens.queries import TokenSettings, query_tokens, token_settings, token_space
from orthant.collection.tokens.reranking import StoredTokens
from orthant.errors import NotFoundError, message

if TYPE_CHECKING:
    from orthant.collection.reading import CollectionReader
    from orthant.collection.searching import Query
    from orthant.collection.stages.options import StageOptions
    from orthant.types import FloatArray

__all__ = ["TokenReading"]

_DEFAULT_SPACE = "default"


class TokenReading:
    """The part of a collection that knows spaces of tokens; see :class:`Collection`."""

    def use_encoder(self, space: str, encoder: Any) -> None:
        """Set the encoder of a space, after opening a collection whose encoder cannot be loaded by name.

        Parameters
        ----------
        space : str
            A space that exists, of vectors, of tokens or sparse.
        encoder : str, Path, Encoder, TokenEncoder, SparseEncoder or sentence-transformers model
            The encoder that the space was made with; a folder for a saved one.

        Raises
        ------
        NotFoundError
            No such space.
        EncoderMismatchError
            Another encoder made the stored vectors.
        """
        me = cast("CollectionReader", self)
        spaces, sparse = me.spaces, me.sparse_spaces
        if space not in spaces and space not in sparse:
            known = ", ".join([*spaces, *sparse]) or "none"
            raise NotFoundError(message(f"space {space!r}", f"one of: {known}", "add it with add_space"))
        loaded, loadable = load(encoder, sparse=True, kind="dense" if space in sparse else spaces[space].kind)
        me._encoders.adopt(space, loaded, loadable=loadable)

    def _token_settings(
        self, mode: str | None, space: str, stages: StageOptions, settings: Mapping[str, Any]
    ) -> TokenSettings:
        me = cast("CollectionReader", self)
        spaces = me.spaces
        rerank = None
        if isinstance(stages.reranker, StoredTokens):
            rerank = token_space(stages.reranker.space, spaces)
        found = token_settings(mode, space, settings.get("weights"), spaces, default=_DEFAULT_SPACE, rerank=rerank)
        needed = found.explained
        return found if needed is None else replace(found, encoder=me._encoders.given(needed))

    def _with_tokens(
        self,
        queries: list[Query],
        texts: Sequence[str | None],
        matrices: Sequence[FloatArray] | None,
        tokens: TokenSettings,
    ) -> list[Query]:
        me = cast("CollectionReader", self)
        for space in dict.fromkeys(name for name in (tokens.leg, tokens.rerank) if name is not None):
            definition = me.spaces[space]
            given = query_tokens(texts, matrices, definition, lambda name=space: me._encoders.require(name))
            queries = [
                query if own is None else replace(query, tokens={**query.tokens, space: own})
                for query, own in zip(queries, given, strict=True)
            ]
        return queries
