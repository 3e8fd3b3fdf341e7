"""The `mbat` row of the catalogue: arXiv 2202.04771."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import MissingExtraError, message
from orthant.papers.record import Claim, Figures, Paper, Trial

Array = npt.NDArray[Any]
Record = dict[str, Any]
Bind = Callable[[str, Array], Array]

_DEPTH = 12
_DIM = 1_024
_KEYS = 16
_SYMBOLS = 1_000
_RECORDS = 100
_ROWS = 1_000
_QUERIES = 60
_WIDE = 2_048
_BINS = (4, 16, 64)
_OF_WORDS = ("text", "title")


# ---- the algebra, on generated vectors ----------------------------------------------------------------------------


def _depth(seed: int) -> Trial:
    """Cosine of a vector with itself after 12 turns and back, and of two nestings in swapped order."""
    arms = _bindings(seed, _DIM)
    found = {name: _deep(*arm, seed) for name, arm in arms.items()}
    return Trial(
        measured=found.pop("orthogonal"),
        ablated=found["random matrices"],
        baseline=found.pop("random matrices"),
        alternatives=found,
    )


def _deep(bind: Bind, unbind: Bind, seed: int) -> Figures:
    X = np.random.default_rng(seed).standard_normal((64, _DIM)).astype(np.float32)
    Y = X
    for i in range(_DEPTH):
        Y = bind(f"key {i}", Y)
    kept = float(np.abs(np.linalg.norm(Y, axis=1) / np.linalg.norm(X, axis=1) - 1).max())
    angles = float(np.abs(_unit(Y) @ _unit(Y).T - _unit(X) @ _unit(X).T).max())
    for i in reversed(range(_DEPTH)):
        Y = unbind(f"key {i}", Y)
    swapped = _unit(bind("a", bind("b", X))) * _unit(bind("b", bind("a", X)))
    return {
        "cosine after the way back": float((_unit(Y) * _unit(X)).sum(axis=1).mean()),
        "largest change of a length": kept,
        "largest change of a cosine": angles,
        "cosine of swapped nestings": float(np.abs(swapped.sum(axis=1)).mean()),
    }


def _bindings(seed: int, dim: int) -> dict[str, tuple[Bind, Bind]]:
    from orthant.encoders import Binder

    binder, rng = Binder(dim, seed=seed), np.random.default_rng(seed + 1)
    matrices, phases, orders = (
        _Drawn(lambda: rng.standard_normal((dim, dim), np.float32) / np.float32(dim**0.5)),
        _Drawn(lambda: np.exp(2j * np.pi * rng.random(dim // 2 + 1))),
        _Drawn(lambda: rng.permutation(dim)),
    )

    def convolved(key: str, X: Array, sign: int) -> Array:
        turn = phases[key].copy()
        turn[[0, -1]] = np.sign(turn[[0, -1]].real)
        return np.fft.irfft(np.fft.rfft(X) * (turn if sign > 0 else turn.conj()), dim).astype(np.float32)

    return {
        "orthogonal": (binder.bind, binder.unbind),
        "random matrices": (lambda key, X: X @ matrices[key].T, lambda key, X: X @ matrices[key]),
        "circular convolution, unitary keys": (
            lambda key, X: convolved(key, X, 1),
            lambda key, X: convolved(key, X, -1),
        ),
        "permutations, which are orthogonal too": (
            lambda key, X: X[:, orders[key]],
            lambda key, X: X[:, np.argsort(orders[key])],
        ),
    }


class _Drawn(dict[str, Any]):
    """Random parts by key, drawn when first asked for."""

    def __init__(self, draw: Callable[[], Any]) -> None:
        super().__init__()
        self._draw = draw

    def __missing__(self, key: str) -> Any:
        self[key] = self._draw()
        return self[key]


def _capacity(seed: int) -> Trial:
    """Share of values read correctly from objects of 16 keys with values of 1,000 symbols."""
    from orthant.encoders import Binder
    from orthant.encoders.records.binding import symbols

    rng = np.random.default_rng(seed)
    table = symbols([f"value {i}" for i in range(_SYMBOLS)], _DIM, seed)
    stored = rng.integers(0, _SYMBOLS, (_RECORDS, _KEYS))
    found = {}
    for name, (bind, unbind) in _bindings(seed, _DIM).items():
        total = np.sum([bind(f"key {i}", table[stored[:, i]]) for i in range(_KEYS)], axis=0)
        read = [(unbind(f"key {i}", total) @ table.T).argmax(axis=1) == stored[:, i] for i in range(_KEYS)]
        found[name] = {"read correctly": float(np.mean(read))}
    # One direction per pair of key and value: no turning at all, and nothing to read without trying every pair.
    pairs = [symbols([f"{i}={j}" for j in range(_SYMBOLS)], _DIM, seed) for i in range(_KEYS)]
    total = np.sum([pairs[i][stored[:, i]] for i in range(_KEYS)], axis=0)
    read = [(total @ pairs[i].T).argmax(axis=1) == stored[:, i] for i in range(_KEYS)]
    found["a hashed direction per key and value"] = {"read correctly": float(np.mean(read))}
    binder = Binder(_DIM, seed=seed)
    one_role = np.sum([binder.bind("key", table[stored[:, i]]) for i in range(_KEYS)], axis=0)
    read = [(binder.unbind("key", one_role) @ table.T).argmax(axis=1) == stored[:, i] for i in range(_KEYS)]
    return Trial(
        measured=found.pop("orthogonal"),
        baseline=found.pop("random matrices"),
        alternatives=found,
        ablated={"read correctly": float(np.mean(read))},
    )


# ---- parts of records as queries, on real records -----------------------------------------------------------------


@dataclass(frozen=True)
class _Asked:
    """A part of a record, and the rows that answer it."""

    kind: str
    part: Record
    answers: Array


Arm = Callable[[Sequence[Record], Sequence[Record], Sequence[Record]], Array]
"""Records to fit on, records and queries to scores of shape (queries, records)."""


def _partial(seed: int) -> Trial:
    """Precision of the first ten for parts of records, averaged over four kinds of question."""
    arms: dict[str, Arm] = {
        "measured": lambda *given: _by_records(seed, *given),
        "ablated": lambda *given: _by_records(seed, *given, turned=False),
        "JSON as text, embedded": _as_text,
        "hashed fields, standardised numbers": lambda *given: _hashed(*given, binned=False),
        "hashed fields, numbers in cells of three widths": _hashed,
        "hashed fields in cells, beside the texts' embedding": _hashed_beside_text,
    }
    sets = {name: _questions(rows, name, seed) for name, rows in _real(seed).items()}
    found = {name: _judged(arm, sets) for name, arm in arms.items()}
    return Trial(
        measured=found.pop("measured"),
        ablated=found.pop("ablated"),
        baseline=found.pop("JSON as text, embedded"),
        alternatives=found,
    )


def _judged(arm: Arm, sets: Mapping[str, tuple[list[Record], list[_Asked]]]) -> Figures:
    by_kind: dict[str, list[float]] = {}
    for rows, asked in sets.values():
        scores = arm(rows, rows, [one.part for one in asked])
        best = np.argsort(-scores, axis=1, kind="stable")[:, :10]
        for one, found in zip(asked, best, strict=True):
            reach = min(10, len(one.answers))
            by_kind.setdefault(one.kind, []).append(float(np.isin(found[:reach], one.answers).mean()))
    kinds = {kind: float(np.mean(values)) for kind, values in sorted(by_kind.items())}
    return {"precision": float(np.mean(list(kinds.values()))), **kinds}


def _real(seed: int) -> dict[str, list[Record]]:
    from orthant.datasets import load

    rng = np.random.default_rng(seed)
    out: dict[str, list[Record]] = {}
    films = load("movies").documents
    kept: tuple[str, ...] = ("year", "genres", "cast")
    out["movies"] = [
        {"named": one.title, "text": one.text, **{key: one.metadata[key] for key in kept}}
        for one in (films[i] for i in rng.permutation(len(films)))
        if one.text and one.metadata["genres"] and one.metadata["cast"]
    ][:_ROWS]
    papers = load("papers", view="documents").documents
    kept = ("venue", "year", "status", "authors", "citations")
    out["papers"] = [
        {"named": one.title, "text": one.text, **{key: one.metadata.get(key) for key in kept}}
        for one in (papers[i] for i in rng.permutation(len(papers)))
        if one.text
    ][:_ROWS]
    answers = load("medquad", view="documents").documents
    kept = ("qtype", "source", "semantic_group")
    out["medquad"] = [
        {"named": one.metadata["question"], "text": one.text, **{key: one.metadata.get(key) for key in kept}}
        for one in (answers[i] for i in rng.permutation(len(answers)))
        if one.text
    ][:_ROWS]
    out["adult"] = _census(rng)
    return out


def _census(rng: np.random.Generator) -> list[Record]:
    from orthant.datasets import load

    table = load("adult", split="test")
    rows = rng.permutation(len(table))[:_ROWS]
    words = {name: table.categorical[name][rows].tolist() for name in ("education", "occupation", "native_country")}
    numbers = {name: table.numeric[name][rows].tolist() for name in ("age", "hours_per_week", "education_num")}
    columns = {**words, **numbers}
    return [{key: values[i] for key, values in columns.items() if values[i] != ""} for i in range(len(rows))]


_EXACT = {
    "movies": ("genres", "cast"),
    "papers": ("venue", "status"),
    "medquad": ("qtype", "source"),
    "adult": ("occupation", "education"),
}
_NUMBERS = {"movies": ("genres", "year"), "papers": ("venue", "citations"), "adult": ("education", "age")}
_TWINS = ("age", "hours_per_week")


def _questions(rows: list[Record], name: str, seed: int) -> tuple[list[Record], list[_Asked]]:
    """Return the records, without the field that the questions about text are made from, and the questions."""
    rng = np.random.default_rng(seed + 7)
    asked: list[_Asked] = []
    for at in rng.permutation(len(rows))[:_QUERIES].tolist():
        row = rows[at]
        asked += _one_exact(rows, row, _EXACT[name])
        if name in _NUMBERS:
            asked += _one_near(rows, row, *_NUMBERS[name])
        if name == "adult":
            asked += _one_swapped(rows, row)
        if row.get("named"):
            asked.append(_Asked("text", {"text": row["named"]}, np.array([at])))
    return [{key: value for key, value in row.items() if key != "named"} for row in rows], asked


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else value


def _holds(row: Record, key: str, value: Any) -> bool:
    held = row.get(key)
    return value in held if isinstance(held, list) else held == value


def _one_exact(rows: list[Record], row: Record, keys: tuple[str, str]) -> Iterator[_Asked]:
    part = {key: _first(row.get(key)) for key in keys}
    if all(isinstance(value, str) and value for value in part.values()):
        answers = [i for i, one in enumerate(rows) if all(_holds(one, key, value) for key, value in part.items())]
        yield _Asked("exact fields", part, np.array(answers))


def _one_near(rows: list[Record], row: Record, key: str, number: str) -> Iterator[_Asked]:
    """One field equal and the number as near as the tenth nearest of those."""
    value, wanted = _first(row.get(key)), row.get(number)
    if isinstance(value, str) and value and wanted is not None:
        same = [i for i, one in enumerate(rows) if _holds(one, key, value) and one.get(number) is not None]
        apart = np.array([abs(rows[i][number] - wanted) for i in same])
        within = np.sort(apart)[: min(10, len(apart))][-1]
        yield _Asked("near numbers", {key: value, number: wanted}, np.array(same)[apart <= within])


def _one_swapped(rows: list[Record], row: Record) -> Iterator[_Asked]:
    """Two fields with numbers of one range: 40 years are not 40 hours."""
    part = {key: row[key] for key in _TWINS}
    apart = np.array([max(abs(one[key] - part[key]) for key in _TWINS) for one in rows])
    within = np.sort(apart)[9]
    yield _Asked("two numbers by their fields", part, np.flatnonzero(apart <= within))


def _by_records(
    seed: int, fitted: Sequence[Record], rows: Sequence[Record], parts: Sequence[Record], *, turned: bool = True
) -> Array:
    from orthant.encoders import RecordEncoder

    schema = {"cast": "symbol", "authors": "symbol"}
    encoder = RecordEncoder(_WIDE, text_encoder="static", schema=schema, seed=seed).fit(fitted)
    if not turned:
        encoder._binder.bind = lambda role, X: X  # type: ignore[method-assign]
    return np.asarray(encoder.encode(parts, role="query") @ encoder.encode(rows).T)


def _as_text(fitted: Sequence[Record], rows: Sequence[Record], parts: Sequence[Record]) -> Array:
    texts = ["; ".join(f"{key}: {_listed(value)}" for key, value in one.items()) for one in (*rows, *parts)]
    X = _static(texts)
    return np.asarray(X[len(rows) :] @ X[: len(rows)].T)


def _listed(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _static(texts: list[str]) -> Array:
    from orthant.encoders import load_encoder

    return load_encoder("static").encode(texts)


def _hashed(
    fitted: Sequence[Record],
    rows: Sequence[Record],
    parts: Sequence[Record],
    *,
    binned: bool = True,
    dim: int = _WIDE,
    words: bool = True,
) -> Array:
    """Fields as hashed features, each field of unit length, as in the record encoder."""
    hashing = _hasher(dim)
    borders = _borders(fitted)
    sides = [hashing.transform([_features(one, borders, binned, words) for one in side]) for side in (parts, rows)]
    dense = [_unit(side.toarray().astype(np.float32)) for side in sides]
    return np.asarray(dense[0] @ dense[1].T)


def _hashed_beside_text(fitted: Sequence[Record], rows: Sequence[Record], parts: Sequence[Record]) -> Array:
    """Part of the dimensions for the embedding of the text, weighted as one field among those that are there."""
    texts = [str(one.get("text") or "") for one in (*rows, *parts)]
    X = _static(texts)
    X[[i for i, text in enumerate(texts) if not text]] = 0
    fields = _hashed(fitted, rows, parts, dim=_WIDE - X.shape[1], words=False)
    share = [np.array([("text" in one and bool(one["text"])) / len(one) for one in side]) for side in (parts, rows)]
    joined = X[len(rows) :] @ X[: len(rows)].T
    weights = [np.sqrt(side)[:, None] for side in share]
    rest = [np.sqrt(1 - side)[:, None] for side in share]
    return np.asarray(joined * (weights[0] @ weights[1].T) + fields * (rest[0] @ rest[1].T))


def _features(one: Record, borders: Mapping[str, Array], binned: bool, words: bool) -> dict[str, float]:
    out: dict[str, float] = {}
    for key, value in one.items():
        if value is None or value == "" or value == []:
            continue
        if isinstance(value, (int, float)):
            out.update(_number_features(key, float(value), borders[key], binned))
            continue
        if key in _OF_WORDS:
            items = sorted(set(str(value).lower().split())) if words else []
        else:
            items = value if isinstance(value, list) else [value]
        out.update({f"{key}={item}": len(items) ** -0.5 for item in items})
    return out


def _number_features(key: str, value: float, borders: Array, binned: bool) -> dict[str, float]:
    if not binned:
        return {key: float((value - borders.mean()) / max(borders.std(), 1e-9))}
    place = np.interp(value, borders, np.linspace(0, 1, len(borders))) if len(borders) > 1 else 0.0
    return {f"{key}:{cells}:{min(int(place * cells), cells - 1)}": len(_BINS) ** -0.5 for cells in _BINS}


def _borders(rows: Sequence[Record]) -> dict[str, Array]:
    held: dict[str, list[float]] = {}
    for one in rows:
        for key, value in one.items():
            if isinstance(value, (int, float)):
                held.setdefault(key, []).append(value)
    return {key: np.unique(np.quantile(values, np.linspace(0, 1, _BINS[-1] + 1))) for key, values in held.items()}


def _hasher(dim: int) -> Any:
    try:
        from sklearn.feature_extraction import FeatureHasher
    except ImportError as error:
        given = "the claims of 'mbat' without scikit-learn"
        raise MissingExtraError(message(given, "that package", "run: pip install scikit-learn")) from error
    return FeatureHasher(dim)


def _unit(rows: Array) -> Array:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1))


PAPER = Paper(
    key="mbat",
    title='Orthogonal Matrices for MBAT Vector Symbolic Architectures, and a "Soft" VSA Representation for JSON',
    arxiv="2202.04771",
    year=2022,
    wing="search",
    lives_in=("orthant.encoders.records",),
    summary=(
        "Encodes nested records as one vector: parts are summed, and each role or list position multiplies its sum "
        "by a random rotation of its own, which keeps lengths and angles intact at any depth. Handy for "
        "near-duplicate and similar-record search over JSON without training; for free text inside the fields, plug "
        "a text encoder into the leaves. Its place in Orthant: the record encoder, with unbinding of a path and an "
        "account of which fields made two records similar."
    ),
    keywords=(
        "JSON",
        "vector symbolic architecture",
        "hyperdimensional computing",
        "orthogonal binding",
        "structured records",
    ),
    status="works",
    claims=(
        Claim(
            name="turns-keep-lengths-and-angles",
            sentence=(
                "Orthogonal operators keep lengths and angles over 12 turns and give back what they turned; random "
                "matrices do not. Unitary circular convolution does too, but confuses a.b with b.a; random "
                "permutations, which are orthogonal matrices of the simplest kind, do as well."
            ),
            data="generated",
            run=_depth,
            metric="cosine after the way back",
            trained=False,
        ),
        Claim(
            name="values-are-read-back",
            sentence=(
                "Values of objects of 16 keys, out of 1,000 symbols, are read back from 1,024 dimensions; with one "
                "operator for all keys they are not. One hashed direction per pair of key and value does as well, by "
                "trying every pair; so do random matrices, at this depth of one."
            ),
            data="generated",
            run=_capacity,
            metric="read correctly",
            trained=False,
        ),
        Claim(
            name="parts-of-records-as-queries",
            sentence=(
                "Precision of the first ten answers to parts of films, papers, medical answers and census records, for "
                "exact fields, near numbers, numbers told apart by their fields, and texts: the record encoder beside "
                "JSON embedded as text and hashed fields of equal dimension, with and without its grids of numbers and "
                "an embedding of the text."
            ),
            data="real",
            run=_partial,
            metric="precision",
            needs=("movies", "papers", "medquad", "adult"),
            trained=False,
        ),
    ),
)
