"""What an upgrade would come to, measured on a sample before anything changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from orthant.collection.upgrade.calibration import blend
from orthant.collection.upgrade.maps import JOINT_WEIGHT, MAPS, WORDED, SpaceBridge, fit_bridge, weighted_queries
from orthant.collection.upgrade.words import verdict
from orthant.errors import InputError, message
from orthant.kernels.distances import norms
from orthant.measures import gain_recovered, ndcg, run_from_arrays
from orthant.types import FloatArray

if TYPE_CHECKING:
    from orthant.collection.upgrade.vocabulary import Words
    from orthant.measures.compatibility import GainRecovered
    from orthant.transforms.alignment.drift import DriftCompensator

__all__ = ["SHARES", "Rehearsal", "Sample", "choose_way", "rehearse"]

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
_K = 10
_PSEUDO_QUERIES = 256
_LEAST_QUERIES = 10
_FOLDS = 5
_TINY = 1e-30

Fold = tuple[np.ndarray, FloatArray, tuple[float, float]]


@dataclass(frozen=True)
class Sample:
    """Records encoded by both encoders.

    Attributes
    ----------
    ids : tuple of str
        Their ids.
    old, new : ndarray of shape (n, d_old) and (n, d_new), float32
        Stored vectors, and those of the new encoder.
    metric : str
        Score of the spaces.
    texts : tuple of str
        Their texts.
    words : Words, optional
        The words of the texts by the new encoder, with their counts.
    trained : DriftCompensator, optional
        The map that the new encoder brings from its training.
    mapped : dict
        What was mapped before, by way and seed.
    """

    ids: tuple[str, ...]
    old: FloatArray
    new: FloatArray
    metric: str = "cosine"
    texts: tuple[str, ...] = ()
    words: Words | None = None
    trained: DriftCompensator | None = None
    mapped: dict[tuple[str, int], list[Fold]] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        """Return how many they are."""
        return len(self.ids)


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
        Mean of ``"old/old"``, ``"new query/old space"``, ``"mapped old vectors"`` (those that a way needs) and
        ``"new/new"``.
    shares : dict of str to GainRecovered
        By the share of records encoded again, ``"0.00"`` to ``"1.00"``: part of the gain, with an interval.
    means : dict of str to float
        The metric by the same shares.
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
    action: str = ""
    reason: str = ""
    ways: dict[str, float] = field(default_factory=dict)

    @property
    def worth_it(self) -> bool:
        """Whether the upgrade may go on as it is planned."""
        return self.action == "do"

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
        for share, one in self.shares.items():
            low, high = one.interval
            # A share of a loss would read as if something were gained.
            part = f"{one.share:+.2f} of the gain ({low:+.2f} to {high:+.2f})" if one.gain > 0 else "no gain"
            lines.append(f"  {float(share):>4.0%} encoded again: {self.means[share]:.4f}, {part}")
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
        mapped = _mapped_scores(sample, way, sample.new[asked], sample.old[asked], seed=seed)
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
    judgements: Mapping[str, Mapping[str, int]] | None,
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
    seed : int, default 0
        Of folds, of the records encoded again, and of the intervals.

    Returns
    -------
    Rehearsal
        Maps are learned on four fifths of the sample and judged on the rest, so no record is judged by a map that saw
        it.

    Raises
    ------
    InputError
        Fewer than ten queries, or judgements that name none of the records.
    """
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
    new = _scores(fresh, sample.new, sample.metric)
    old = _scores(former, sample.old, sample.metric)
    measure = _measure(sample, query_ids, judgements, _nearest(new))
    arms = {"old/old": measure(old)}
    older = old
    if using != "reencode":
        older = _mapped_scores(sample, using, fresh, former, seed=seed)
        arms["new query/old space"] = measure(_turned_scores(sample, using, fresh, seed=seed))
        arms["mapped old vectors"] = measure(older)
    arms["new/new"] = measure(new)
    order = np.random.default_rng(seed).permutation(len(sample))
    shares, means = {}, {}
    for share in SHARES:
        encoded = np.zeros(len(sample), dtype=bool)
        encoded[order[: round(share * len(sample))]] = True
        found = arms["new/new"] if share == 1.0 else measure(blend(new, older, encoded))
        shares[f"{share:.2f}"] = gain_recovered(found, arms["old/old"], arms["new/new"], seed=seed)
        means[f"{share:.2f}"] = float(found.mean())
    metric = "overlap@10" if judgements is None else "ndcg@10"
    told = {name: float(values.mean()) for name, values in arms.items()}
    out = Rehearsal(using, metric, len(fresh), len(sample), told, shares, means)
    action, reason = verdict(out)
    return replace(out, action=action, reason=reason)


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


def _mapped_scores(sample: Sample, using: str, fresh: FloatArray, former: FloatArray, *, seed: int) -> FloatArray:
    """Scores with mapped old vectors; every record is mapped by a map that was learned without it."""
    out = np.empty((len(fresh), len(sample)), dtype=np.float32)
    weight = JOINT_WEIGHT if using.startswith("joint") else 0.0
    for judged, near, scales in _out_of_fold(sample, using, seed):
        queries = weighted_queries(fresh, former, weight, scales)
        older = (sample.old[judged] / np.maximum(norms(sample.old[judged]), _TINY)[:, None],) if weight else ()
        out[:, judged] = _scores(queries, np.concatenate([near, *older], axis=1), "cosine")
    return out


def _out_of_fold(sample: Sample, using: str, seed: int) -> list[Fold]:
    """Rows, their mapped vectors, and the spread of both scores; learned once for a way and its joint form."""
    base = {"joint": "low-rank", "joint-words": "words"}.get(using, using)
    joint = {"low-rank": "joint", "words": "joint-words"}.get(base, base)
    if (base, seed) not in sample.mapped:
        sample.mapped[base, seed] = folds = []
        words = sample.words if base in WORDED else None
        for learned, judged in _folds(len(sample), seed):
            taught, asked = (None, None) if words is None else (words.rows(learned), words.rows(judged).counts)
            if base == "drift" and sample.trained is not None:
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
    for learned, judged in _folds(len(sample), seed):
        turn = fit_bridge(way, sample.new[learned], sample.old[learned])
        out[:, judged] = _scores(turn.documents(fresh), sample.old[judged], "cosine")
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


def _measure(
    sample: Sample, query_ids: Sequence[str], judgements: Mapping[str, Mapping[str, int]] | None, truth: np.ndarray
) -> Any:
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
