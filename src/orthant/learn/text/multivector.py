"""Text models with one vector per token, reduced to a few: late interaction."""

from __future__ import annotations

import string
from collections.abc import Mapping
from pathlib import Path

import torch
from sentence_transformers import MultiVectorEncoder
from sentence_transformers.base.modules import Normalize, Transformer
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

from orthant.errors import InputError, message
from orthant.learn.text.encoder import make_dense, resolve_backbone
from orthant.learn.text.modules import ReducerModule
from orthant.nn.token_reducers import TokenReducer
from orthant.validate import check_count

__all__ = ["build_token_encoder"]

_STATES = "token_embeddings"


def build_token_encoder(
    backbone: str | Path | Transformer,
    *,
    dim: int | None = 96,
    reducer: TokenReducer | None = None,
    query_reducer: TokenReducer | None = None,
    query_tokens: int | None = 32,
    document_tokens: int | None = None,
    expand_queries: bool = False,
    skip_punctuation: bool = False,
    prompts: Mapping[str, str] | None = None,
    device: str | None = None,
    seed: int = 0,
) -> MultiVectorEncoder:
    """Make a late-interaction model: transformer, projection, mask, unit length, and reducers last.

    Parameters
    ----------
    backbone : str, Path or sentence_transformers.base.modules.Transformer
        What `load_backbone` returned, or a folder for it.
    dim : int or None, default 96
        Width of the token vectors, by a linear layer without bias and with random weights, so train before use. None
        keeps the width of the backbone. Smaller stores less and tells tokens apart less well.
    reducer : TokenReducer, optional
        For documents, such as ``ClusterReducer(k=8)``; None keeps every token.
    query_reducer : TokenReducer, optional
        For queries, such as ``ClusterReducer(k=4)``; None keeps every token.
    query_tokens : int or None, default 32
        Longest query in tokens; None takes the window of the backbone.
    document_tokens : int, optional
        Longest document in tokens; left out, the window of the backbone.
    expand_queries : bool, default False
        Fill shorter queries up to ``query_tokens`` with mask tokens, which are scored too.
    skip_punctuation : bool, default False
        Leave punctuation of documents out. Not for code.
    prompts : mapping of str to str, optional
        Texts put before queries and documents, by those names.
    device : str, optional
        Such as ``"cuda"``; left out, the library chooses.
    seed : int, default 0
        Of the projection.

    Returns
    -------
    sentence_transformers.MultiVectorEncoder
        Saved with ``save_pretrained``; trained with its trainer. Without reducers the folder holds modules of
        sentence-transformers alone; with them it loads with `orthant.learn.text.load_text_model`.

    Raises
    ------
    InputError
        A value out of range, expansion without ``query_tokens``, or something that is no reducer.
    NotFoundError
        No such folder.

    Notes
    -----
    A pair is scored by ``sum_i max_j <q_i, d_j>`` over what the reducers leave. Cluster means are shorter than 1
    unless the reducer normalises them: spread-out clusters count less.

    References
    ----------
    Khattab, Zaharia: ColBERT. arXiv 2004.12832, section 3.
    Veneroso et al.: CRISP. arXiv 2505.11471, section 3.

    Examples
    --------
    With a backbone at hand (see `orthant.learn.text.build_text_encoder` for a small one)::

        model = build_token_encoder(minilm_backbone(), reducer=ClusterReducer(k=8), query_reducer=ClusterReducer(k=4))
        model.similarity(model.encode_query(queries), model.encode_document(documents))
    """
    for given in (reducer, query_reducer):
        if given is not None and not isinstance(given, TokenReducer):
            raise InputError(message(f"a {type(given).__name__}", "a TokenReducer", "pass ClusterReducer(k=8)"))
    if expand_queries and query_tokens is None:
        raise InputError(message("expand_queries without query_tokens", "a length", "pass query_tokens=32"))
    transformer = resolve_backbone(backbone, None)
    window = transformer.max_seq_length
    for name, value in (("query_tokens", query_tokens), ("document_tokens", document_tokens)):
        if value is not None:
            check_count(value, name=name, minimum=3, maximum=window)
    transformer.query_length, transformer.document_length = query_tokens, document_tokens
    if expand_queries and query_tokens is not None:
        transformer.query_expansion = {"strategy": "fixed", "length": query_tokens}
    modules: list[torch.nn.Module] = [transformer]
    if dim is not None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            modules.append(make_dense(transformer.get_embedding_dimension(), dim, bias=False, feature=_STATES))
    modules.append(MultiVectorMask(list(string.punctuation) if skip_punctuation else None))
    modules.append(Normalize(module_input_name=_STATES))
    if reducer is not None or query_reducer is not None:
        modules.append(ReducerModule(reducer, query_reducer))
    return MultiVectorEncoder(modules=modules, prompts=dict(prompts or {}), device=device).eval()
