"""What an upgrade would come to, measured on a sample before anything changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from orthant.collection.upgrade.calibration import blend
from orthant.collection.upgrade.maps import JOINT_WEIGHT, MAPS, WORDED, SpaceBridge, fit_bridge, weighted_queries
from orthant.collection.upgrade.words import verdict
from orthant.errors import InputError, message
from orthant.kernels.distances import norms
from orthant.measures import gain_recovered, ndcg, run_from_arrays
from orthant.types import FloatArray

if TYPE_CHECKING:
    from orthant.collection.upgrade.sampling import Sample
    from orthant.measures.compatibility import GainRecovered

__all__ = ["SHARES", "Rehearsal", "choose_way", "rehearse"]

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
_K = 10
_PSEUDO_QUERIES = 256
_LEAST_QUERIES = 10
_FOLDS = 5
_TINY = 1e-30

Part = tuple[np.ndarray, FloatArray, tuple[float, float]]
Judgements = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Rehearsal:
    """What an upgrade would come to.

    Attributes
    ----------
    using : str
        The way.
    metric : str
        ``"ndcg@10"`` with judgements, else ``"overlap@10"``: the share of the new model's own ten nearest found.
    queries, documents : int
        How many were compared.
    arms : dict of str to float
        Mean of ``"old/old"``, ``"new query/old space"``, ``"mapped old vectors"`` (those that a way needs, of records
        that the map has not seen) and ``"new/new"``.
    shares : dict of str to GainRecovered
        By the share of records encoded again, ``"0.00"`` to ``"1.00"``: part of the gain, with an interval, of records
        that the map has not seen.
    means : dict of str to float
        The metric by the same shares.
    now : dict of str to GainRecovered
        The same of this collection as the run leaves it: ``seen`` of its records are those that the map was learned
        from, and are mapped better.
    now_means : dict of str to float
        The metric by the same shares.
    seen : float
        Share of the records that the map is learned from.
    decided_by : {"unseen", "now"}
        Whether ``shares`` or ``now`` decided.
    action : str
        ``"do"``, ``"reencode"`` (only with more records encoded again) or ``"don't"``.
    reason : str
        Why.
    ways : dict of str to float
        Where the way was chosen: how much of the new neighbours each found.
    """

    using: str
    metric: str
    queries: int
    documents: int
    arms: dict[str, float]
    shares: dict[str, GainRecovered]
    means: dict[str, float]
    now: dict[str, GainRecovered] = field(default_factory=dict)
    now_means: dict[str, float] = field(default_factory=dict)
    seen: float = 0.0
    decided_by: str = "unseen"
    action: str = ""
    reason: str = ""
    ways: dict[str, float] = field(default_factory=dict)

    @property
    def worth_it(self) -> bool:
        """Whether the upgrade may go on as it is planned."""
        return self.action == "do"

    def questions(self) -> list[tuple[str, dict[str, GainRecovered], dict[str, float]]]:
        """Return what is asked, with its figures.

        Returns
        -------
        list of (str, dict, dict)
            In words, by the share encoded again the part of the gain, and the metric; one entry where no map is learned
            from the records, since both are equal then.
        """
        if not self.seen:
            return [("all records", self.shares, self.means)]
        return [
            (f"this collection, the map having seen {self.seen:.0%} of it", self.now, self.now_means),
            ("records that the map has not seen", self.shares, self.means),
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return plain, JSON-ready values.

        Returns
        -------
        dict
            One key per attribute.
        """
        return asdict(self)

    def __str__(self) -> str:
        """Return a table and the verdict."""
        lines = [f"{self.using}: {self.metric} of {self.queries} queries over {self.documents} records"]
        lines += [f"  {name:<22}{mean:.4f}" for name, mean in self.arms.items()]
        for title, shares, means in self.questions():
            lines.append(f"  {title}:")
            for share, one in shares.items():
                low, high = one.interval
                # A share of a loss would read as if something were gained.
                part = f"{one.share:+.2f} of the gain ({low:+.2f} to {high:+.2f})" if one.gain > 0 else "no gain"
                lines.append(f"  {float(share):>4.0%} encoded again: {means[share]:.4f}, {part}")
        return "\n".join([*lines, f"{self.action}: {self.reason}"])


def choose_way(sample: Sample, *, both: bool = True, seed: int = 0) -> tuple[str, dict[str, float]]:
    """Return the way that suits two encoders, by how much of the new model's neighbours mapped vectors find.

    Parameters
    ----------
    sample : Sample
        Records encoded by both; some of them stand for queries.
    both : bool, default True
        Whether queries can be encoded by the old encoder as well.
    seed : int, default 0
        Of the split.

    Returns
    -------
    way : str
        ``"reencode"`` where no map finds more than the old vectors do. Else ``"joint"``, or ``"joint-words"`` where
        words help most, if both encoders can be asked: the old scores cost some of the new model's neighbours, and
        bound the loss where the map is wrong about what is relevant. Else the map that finds most.
    overlaps : dict of str to float
        By way; ``"old"`` is what the old vectors find.
    """
    sample = sample.for_learning()
    if sample.metric != "cosine" or len(sample) < 4 * _K:
        return "reencode", {}
    asked = np.random.default_rng(seed).permutation(len(sample))[: min(_PSEUDO_QUERIES, len(sample) // 2)]
    own = _scores(sample.new[asked], sample.new, sample.metric)
    truth = _nearest(own, without=asked)
    old = _scores(sample.old[asked], sample.old, sample.metric)
    found = {"old": float(_overlap(_nearest(old, without=asked), truth).mean())}
    for way in MAPS:
        if way == "drift" and sample.old.shape[1] != sample.new.shape[1]:
            continue
        if way in WORDED and (sample.words is None or not len(sample.words.vocabulary)):
            continue
        unseen = _out_of_fold(sample, way, seed)
        mapped = _mapped_scores(sample, way, unseen, sample.new[asked], sample.old[asked])
        found[way] = float(_overlap(_nearest(mapped, without=asked), truth).mean())
    best = max((way for way in found if not way.startswith("joint")), key=lambda way: found[way])
    if best == "old":
        return "reencode", found
    return (("joint-words" if best == "words" else "joint") if both else best), found


def rehearse(
    sample: Sample,
    using: str,
    fresh: FloatArray,
    former: FloatArray,
    *,
    query_ids: Sequence[str],
    judgements: Judgements | None,
    bridge: SpaceBridge | None = None,
    decide_by: Literal["unseen", "now"] = "unseen",
    seed: int = 0,
) -> Rehearsal:
    """Compare the arms of an upgrade on a sample.

    Parameters
    ----------
    sample : Sample
        Records encoded by both encoders.
    using : str
        The way.
    fresh, former : ndarray of shape (q, d_new) and (q, d_old), float32
        Queries by the new and by the old encoder.
    query_ids : sequence of str, length q
        Their names in the judgements.
    judgements : mapping of str to mapping of str to int, or None
        Grades by record by query; those of records outside the sample do not count.
    bridge : SpaceBridge, optional
        The map that the run will use, learned from the sample; needed unless everything is encoded again.
    decide_by : {"unseen", "now"}, default "unseen"
        Whose figures decide.
    seed : int, default 0
        Of folds, of the records encoded again, and of the intervals.

    Returns
    -------
    Rehearsal
        Records that the map has not seen are mapped by maps that were learned from four fifths of the sample without
        them. In the collection as it will be, as many records of the sample are mapped by the map that saw them as in
        the whole collection; relevant ones by what is true of them.

    Raises
    ------
    InputError
        Fewer than ten queries, or judgements that name none of the records.
    """
    fresh, former, query_ids = _usable(sample, fresh, former, query_ids, judgements)
    new = _scores(fresh, sample.new, sample.metric)
    old = _scores(former, sample.old, sample.metric)
    measure = _measure(sample, query_ids, judgements, _nearest(new))
    arms = {"old/old": measure(old)}
    unseen = now = old
    seen = 0.0
    if bridge is not None:
        parts, given = _parts(sample, using, bridge, seed), (fresh, former)
        unseen = _mapped_scores(sample, using, parts(np.zeros(len(sample), dtype=bool)), *given)
        now = _mapped_scores(sample, using, parts(_seen(sample, judgements, query_ids, seed)), *given)
        arms["new query/old space"] = measure(_turned_scores(sample, using, fresh, seed=seed))
        arms["mapped old vectors"] = measure(unseen)
        seen = 0.0 if _given(sample, using) else sample.pairs / max(1, sample.records or sample.pairs)
    arms["new/new"] = measure(new)
    metric = "overlap@10" if judgements is None else "ndcg@10"
    told = {name: float(values.mean()) for name, values in arms.items()}
    figures = *_by_share(new, unseen, arms, measure, seed), *_by_share(new, now, arms, measure, seed)
    out = Rehearsal(using, metric, len(fresh), len(sample), told, *figures, seen, decide_by)
    action, reason = verdict(out)
    return replace(out, action=action, reason=reason)


def _by_share(
    new: FloatArray, older: FloatArray, arms: dict[str, Any], measure: Callable[[FloatArray], Any], seed: int
) -> tuple[dict[str, GainRecovered], dict[str, float]]:
    """The part of the gain, and the metric, by the share of records encoded again."""
    order = np.random.default_rng(seed).permutation(new.shape[1])
    shares, means = {}, {}
    for share in SHARES:
        encoded = np.zeros(len(order), dtype=bool)
        encoded[order[: round(share * len(order))]] = True
        found = arms["new/new"] if share == 1.0 else measure(blend(new, older, encoded))
        shares[f"{share:.2f}"] = gain_recovered(found, arms["old/old"], arms["new/new"], seed=seed)
        means[f"{share:.2f}"] = float(found.mean())
    return shares, means


def _usable(
    sample: Sample, fresh: FloatArray, former: FloatArray, query_ids: Sequence[str], judgements: Judgements | None
) -> tuple[FloatArray, FloatArray, Sequence[str]]:
    """The queries with a relevant record in the sample."""
    if judgements is not None:
        names = set(sample.ids)
        kept = [
            i for i, q in enumerate(query_ids) if any(g > 0 and d in names for d, g in judgements.get(q, {}).items())
        ]
        fresh, former, query_ids = fresh[kept], former[kept], [query_ids[i] for i in kept]
    if len(fresh) < _LEAST_QUERIES:
        raise InputError(
            message(
                f"{len(fresh)} queries" + (" with a relevant record" if judgements is not None else ""),
                f"at least {_LEAST_QUERIES}, better some hundreds",
                "pass more queries" + (", or judgements whose record ids exist" if judgements is not None else ""),
            )
        )
    return fresh, former, query_ids


def _scores(Q: FloatArray, X: FloatArray, metric: str) -> FloatArray:
    if metric == "l2":
        return 2 * (Q @ X.T) - np.einsum("ij,ij->i", X, X)[None] - np.einsum("ij,ij->i", Q, Q)[:, None]
    if metric == "cosine":
        lengths = np.linalg.norm(X, axis=1)
        X = (X / np.where(lengths > 0, lengths, 1.0)[:, None]).astype(np.float32)
        near = np.linalg.norm(Q, axis=1)
        Q = (Q / np.where(near > 0, near, 1.0)[:, None]).astype(np.float32)
    return np.ascontiguousarray(Q @ X.T, dtype=np.float32)


def _folds(count: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield what a map is learned from and what it is judged on; large parts, so that the maps hardly differ."""
    parts = np.array_split(np.random.default_rng([seed, 1]).permutation(count), _FOLDS)
    for i, judged in enumerate(parts):
        yield np.concatenate([part for j, part in enumerate(parts) if j != i]), judged


def _mapped_scores(sample: Sample, using: str, parts: list[Part], fresh: FloatArray, former: FloatArray) -> FloatArray:
    """Scores with mapped old vectors, part by part."""
    out = np.empty((len(fresh), len(sample)), dtype=np.float32)
    weight = JOINT_WEIGHT if using.startswith("joint") else 0.0
    for rows, near, scales in parts:
        queries = weighted_queries(fresh, former, weight, scales)
        older = (sample.old[rows] / np.maximum(norms(sample.old[rows]), _TINY)[:, None],) if weight else ()
        out[:, rows] = _scores(queries, np.concatenate([near, *older], axis=1), "cosine")
    return out


def _given(sample: Sample, using: str) -> bool:
    """Whether the map comes of the new encoder's training, and has seen none of the records."""
    return using == "drift" and sample.trained is not None


def _parts(sample: Sample, using: str, bridge: SpaceBridge, seed: int) -> Callable[[np.ndarray], list[Part]]:
    """Mapped vectors by what is said to be seen: by the map of the run, and else by one that has not seen them."""
    counts = sample.words.counts if bridge.reads_texts and sample.words is not None else None
    whole = bridge.documents(sample.old, counts=counts)[:, : sample.new.shape[1]]
    folds = [] if _given(sample, using) else _out_of_fold(sample.for_learning(), using, seed)

    def parts(seen: np.ndarray) -> list[Part]:
        # What only judges is new to the map of the run as well.
        by_run = seen.copy()
        by_run[sample.pairs if folds else 0 :] = True
        out: list[Part] = [(np.flatnonzero(by_run), whole[by_run], bridge.scales)]
        for rows, near, scales in folds:
            kept = ~seen[rows]
            out.append((rows[kept], near[kept], scales))
        return [part for part in out if len(part[0])]

    return parts


def _seen(sample: Sample, judgements: Judgements | None, query_ids: Sequence[str], seed: int) -> np.ndarray:
    """Return what stands for records that the map of the run has seen.

    Of relevant ones those that it has, of the others as many as in the whole collection.
    """
    out = np.arange(len(sample)) < sample.pairs
    relevant = {d for q in query_ids for d, g in (judgements or {}).get(q, {}).items() if g > 0}
    is_relevant = np.array([key in relevant for key in sample.ids], dtype=bool)
    others = np.flatnonzero(out & ~is_relevant)
    in_collection = max(len(others), (sample.records or sample.pairs) - int(is_relevant.sum()))
    count = round(len(others) * len(others) / max(1, in_collection))
    out[np.random.default_rng([seed, 2]).permutation(others)[count:]] = False
    return out


def _out_of_fold(sample: Sample, using: str, seed: int) -> list[Part]:
    """Rows, their vectors by a map that was learned without them, and the spread of both scores.

    Learned once for a way and its joint form.
    """
    base = {"joint": "low-rank", "joint-words": "words"}.get(using, using)
    joint = {"low-rank": "joint", "words": "joint-words"}.get(base, base)
    if (base, seed) not in sample.mapped:
        sample.mapped[base, seed] = folds = []
        words = sample.words if base in WORDED else None
        for learned, judged in _folds(len(sample), seed):
            taught, asked = (None, None) if words is None else (words.rows(learned), words.rows(judged).counts)
            if _given(sample, base):
                bridge = SpaceBridge(sample.trained)
            else:
                bridge = fit_bridge(joint, sample.old[learned], sample.new[learned], words=taught)
            near = bridge.documents(sample.old[judged], counts=asked)[:, : sample.new.shape[1]]
            folds.append((judged, near, bridge.scales))
    return sample.mapped[base, seed]


def _turned_scores(sample: Sample, using: str, fresh: FloatArray, *, seed: int) -> FloatArray:
    """Scores of new queries that are mapped to the old space."""
    way = "low-rank" if using == "joint" or using in WORDED else using
    out = np.empty((len(fresh), len(sample)), dtype=np.float32)
    further = np.arange(sample.pairs, len(sample))
    for i, (learned, judged) in enumerate(_folds(sample.pairs, seed)):
        turn = fit_bridge(way, sample.new[learned], sample.old[learned])
        rows = judged if i else np.concatenate([judged, further])
        out[:, rows] = _scores(turn.documents(fresh), sample.old[rows], "cosine")
    return out


def _nearest(scores: FloatArray, *, without: np.ndarray | None = None) -> np.ndarray:
    if without is not None:
        # A record that stands for a query must not find itself.
        scores = scores.copy()
        scores[np.arange(len(scores)), without] = -np.inf
    k = min(_K, scores.shape[1])
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def _overlap(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return np.array([len(np.intersect1d(a, b)) / max(len(b), 1) for a, b in zip(found, truth, strict=True)])


def _measure(sample: Sample, query_ids: Sequence[str], judgements: Judgements | None, truth: np.ndarray) -> Any:
    if judgements is None:
        return lambda scores: _overlap(_nearest(scores), truth)
    names = set(sample.ids)
    qrels = {q: {d: g for d, g in judgements[q].items() if d in names} for q in query_ids}

    def by_judgements(scores: FloatArray) -> np.ndarray:
        top = _nearest(scores)
        run = run_from_arrays(
            top, np.take_along_axis(scores, top, axis=1), query_ids=list(query_ids), document_ids=list(sample.ids)
        )
        return ndcg(run, qrels, k=_K).values

    return by_judgements
