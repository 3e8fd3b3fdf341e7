"""Mining hard negatives with any index: search, exclude, filter, sample, and say why."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, message
from orthant.learn.conversion.texts import check_filled
from orthant.learn.mining.candidates import Candidates, find_candidates, positive_ranks, rescore
from orthant.learn.mining.corpus import MiningCorpus
from orthant.learn.mining.mined import MinedNegatives
from orthant.learn.mining.rules import MiningRules, Reason, apply_rules, duplicate_mask, sample_survivors
from orthant.types import Encoder, FloatArray, IdArray, Index, Reranker
from orthant.validate import as_texts, as_vectors, check_choice, check_count

__all__ = ["mine_negatives"]

Ids = Sequence[int | Sequence[int]]
T = TypeVar("T")


def mine_negatives(
    queries: Iterable[str],
    positives: Ids,
    corpus: Mapping[int, str] | Sequence[str],
    *,
    index: Index,
    encoder: Encoder | None = None,
    query_vectors: npt.ArrayLike | None = None,
    rules: MiningRules | None = None,
    known: Ids | None = None,
    groups: Mapping[int, Hashable] | Sequence[Hashable] | None = None,
    reranker: Reranker | None = None,
    consistency_top_k: int | None = None,
    inconsistent: str = "drop",
    depth: int | None = None,
    recall: float | None = None,
    seed: int = 0,
    batch_size: int = 1024,
) -> MinedNegatives:
    """Find texts that resemble a query but do not answer it: hard negatives for a contrastive training.

    Use it with an index of the corpus under a good encoder. What is near a query and not marked relevant is often an
    unmarked answer, so set a margin (``MiningRules(relative_margin=0.05)``) and look at ``report()``.

    Parameters
    ----------
    queries : iterable of str
        n queries, none blank.
    positives : sequence of (int or sequence of int), length n
        Relevant ids of each query, at least one.
    corpus : mapping of int to str, or sequence of str
        Text by id of the index; a sequence has the ids 0, 1, 2 and so on.
    index : Index
        Any index of the corpus. Its scores are what the rules compare, unless there is a reranker.
    encoder : Encoder, optional
        Encodes the queries, with the role ``"query"``. Give it or ``query_vectors``.
    query_vectors : array-like of shape (n, d), optional
        Vectors of the queries.
    rules : MiningRules, optional
        Ranks, margins, scores, count and sampling; left out, the three best of the first 50.
    known : sequence of (int or sequence of int), length n, optional
        Further ids per query that are relevant or doubtful: never negatives.
    groups : mapping of int to hashable, or sequence, optional
        Group of each id; candidates of a positive's group are left out (passages of one document, for example).
    reranker : Reranker, optional
        A stronger teacher: its scores replace those of the index for candidates and positives, and order them.
    consistency_top_k : int, optional
        A pair is inconsistent when its positive is not among this many best texts under the teacher; other relevant
        texts do not count. 50 is usual; smaller drops more pairs.
    inconsistent : {"drop", "flag"}, default "drop"
        What to do with inconsistent pairs.
    depth : int, optional
        Candidates that the index is asked for per query; left out, enough for ``rules.ranks``, the relevant ids and
        ``consistency_top_k``. More fills the ranks where many candidates are excluded.
    recall : float, optional
        Recall asked of an approximate index.
    seed : int, default 0
        Of random sampling.
    batch_size : int, default 1024
        Queries per search.

    Returns
    -------
    MinedNegatives
        Negatives, and a reason for every candidate that is none.

    Raises
    ------
    InputError
        Blank texts, neither or both of ``encoder`` and ``query_vectors``, a query without positives, a relative margin
        with a squared distance, or settings out of range.
    NotFoundError
        A relevant id, or an id that the index returns, has no text; or a relevant id is not in the index.

    Notes
    -----
    Ranks are counted among candidates that are neither relevant, nor equal in text to the query, a relevant text or a
    better candidate, nor of a relevant text's group. Cost: one search per query, a second one where a positive is
    outside the first ``depth``, and ``depth`` scores per query of a reranker; 13 ``depth`` bytes per query are kept.

    References
    ----------
    Moreira et al., NV-Retriever, arXiv:2407.15831, section 3.2; KaLM-Embedding-V2, arXiv:2506.20923, section on data
    (ranking-consistency filtering, negatives from ranks 50 to 100).

    Examples
    --------
    >>> import numpy as np
    >>> from orthant.index import Flat
    >>> X = np.array([[1, 0], [0.9, 0.1], [0.5, 0.5], [0, 1]])
    >>> index = Flat(2)
    >>> _ = index.add(X)
    >>> mined = mine_negatives(["q"], [0], ["right", "copy", "near", "far"], index=index, query_vectors=[[1, 0]],
    ...                        rules=MiningRules(num_negatives=1, relative_margin=0.05))
    >>> mined.ids[0].tolist(), [(r["id"], r["reason"]) for r in mined.rejections()]
    ([2], [(0, 'relevant'), (1, 'relative margin'), (3, 'not sampled')])
    """
    rules = MiningRules() if rules is None else rules
    inconsistent = check_choice(inconsistent, ("drop", "flag"), name="inconsistent")
    batch_size = check_count(batch_size, name="batch_size")
    top_k = None if consistency_top_k is None else check_count(consistency_top_k, name="consistency_top_k")
    if rules.relative_margin is not None and reranker is None and index.metric == "l2":
        raise InputError(
            message(
                "a relative margin with the metric 'l2'", "scores with a zero", "pass absolute_margin, or use cosine"
            )
        )
    listed = as_texts(queries, name="queries")
    check_filled(listed, name="queries")
    texts = MiningCorpus(corpus, groups)
    wanted = _id_lists(positives, len(listed), texts, name="positives", fewest=1)
    barred = _id_lists(known if known is not None else [[]] * len(listed), len(listed), texts, name="known", fewest=0)
    relevant = [np.unique(np.array([*a, *b], dtype=np.int64)) for a, b in zip(wanted, barred, strict=True)]
    vectors = _vectors(listed, index.dim, encoder, query_vectors)
    if depth is None:
        depth = max(rules.ranks[1], top_k or 0) + max(map(len, relevant), default=0)
    depth = check_count(depth, name="depth", minimum=max(rules.ranks[0] + 1, top_k or 1))
    found = find_candidates(index, vectors, wanted, depth=depth, recall=recall, batch_size=batch_size)
    texts.check(found.ids[found.ids >= 0], what="ids found by the index")
    if reranker is not None:
        found = rescore(reranker, found, listed, wanted, texts)
    ranks = positive_ranks(found, relevant) if top_k is not None else [[0] * len(p) for p in wanted]
    bad = [
        (i, p)
        for i, row in enumerate(ranks)
        for p, r in zip(wanted[i], row, strict=True)
        if top_k and not 1 <= r <= top_k
    ]
    keep = set() if inconsistent == "flag" else set(bad)
    mask = [[(i, p) not in keep for p in row] for i, row in enumerate(wanted)]
    own = [_kept(row, m) for row, m in zip(found.positive_scores, mask, strict=True)]
    reasons = sample_survivors(rules, _judge(rules, listed, texts, relevant, found, own), seed=seed)
    return MinedNegatives(
        queries=listed,
        positives=[_kept(row, m) for row, m in zip(wanted, mask, strict=True)],
        texts=texts.texts,
        candidate_ids=found.ids,
        candidate_scores=found.scores,
        reasons=reasons,
        positive_scores=own,
        positive_ranks=[_kept(row, m) for row, m in zip(ranks, mask, strict=True)],
        inconsistent=bad,
        rules=rules,
        dropped=inconsistent == "drop",
    )


def _kept(values: Sequence[T], mask: Sequence[bool]) -> list[T]:
    return [value for value, keep in zip(values, mask, strict=True) if keep]


def _id_lists(given: Ids, count: int, corpus: MiningCorpus, *, name: str, fewest: int) -> list[list[int]]:
    """Return one list of distinct ids per query; a single id stands for a list of one."""
    if isinstance(given, (str, Mapping)) or len(given) != count:
        raise InputError(message(f"{name} of length {len(given)}", f"one entry per query, {count}", "align them"))
    out: list[list[int]] = []
    for i, entry in enumerate(given):
        ids = list(entry) if isinstance(entry, (Sequence, np.ndarray)) else [entry]
        if not all(isinstance(value, (int, np.integer)) and not isinstance(value, bool) for value in ids):
            raise InputError(message(f"{name}[{i}]={entry!r}", "integer ids of the index", "map your keys to ids"))
        distinct = list(dict.fromkeys(int(value) for value in ids))
        if len(distinct) < fewest:
            raise InputError(message(f"{name}[{i}] without an id", "at least one relevant id", "drop that query"))
        out.append(distinct)
    everything = np.array([i for row in out for i in row], dtype=np.int64)
    if len(everything):
        corpus.check(everything, what=f"ids in {name}")
    return out


def _vectors(queries: list[str], dim: int, encoder: Encoder | None, query_vectors: npt.ArrayLike | None) -> FloatArray:
    if (encoder is None) == (query_vectors is None):
        given = "neither" if encoder is None else "both"
        raise InputError(message(f"{given} of encoder and query_vectors", "one of them", "pass one"))
    raw: Any = encoder.encode(queries, role="query") if encoder is not None else query_vectors
    vectors = as_vectors(raw, dim=dim, name="query_vectors")
    if len(vectors) != len(queries):
        raise InputError(message(f"{len(vectors)} vectors for {len(queries)} queries", "one per query", "align them"))
    return vectors


def _judge(
    rules: MiningRules,
    queries: list[str],
    corpus: MiningCorpus,
    relevant: list[IdArray],
    found: Candidates,
    own: list[list[float]],
) -> npt.NDArray[np.uint8]:
    """Give each candidate the first reason that applies; survivors stay ``CHOSEN``."""
    codes = np.full(found.ids.shape, Reason.CHOSEN, dtype=np.uint8)
    keys, groups = corpus.keys_of(found.ids), corpus.groups_of(found.ids)
    for row, ids in enumerate(relevant):
        barred = corpus.groups_of(ids)
        # From the last reason to the first, so that the first one stays.
        codes[row, np.isin(groups[row], barred[barred >= 0])] = Reason.SAME_GROUP
        codes[row, np.isin(keys[row], corpus.keys_of(ids))] = Reason.SAME_TEXT_AS_RELEVANT
        codes[row, keys[row] == corpus.key_of_text(queries[row])] = Reason.SAME_TEXT_AS_QUERY
        codes[row, np.isin(found.ids[row], ids)] = Reason.RELEVANT
    codes[found.ids < 0] = Reason.NO_CANDIDATE
    codes[duplicate_mask(keys, codes == Reason.CHOSEN)] = Reason.REPEATED_TEXT
    for row, scores in enumerate(own):
        if not scores:
            codes[row, codes[row] == Reason.CHOSEN] = Reason.QUERY_DROPPED
    lowest = np.array([min(scores, default=0.0) for scores in own], dtype=np.float32)
    percentile = None
    if rules.percentile_margin is not None and any(own):
        percentile = float(np.percentile([s for scores in own for s in scores], rules.percentile_margin))
    return apply_rules(rules, found.scores, codes, positive_scores=lowest, percentile_score=percentile)
