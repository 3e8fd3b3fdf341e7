"""The `frozen-glyphs` row of the catalogue: arXiv 2507.04886."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.papers.record import Claim, Figures, Paper, Trial

Array = npt.NDArray[Any]
Treatment = Callable[[str], str]

_SETS = ("cranfield", "cosqa", "medquad")
_DOCUMENTS, _QUERIES = 1_000, 100
_STEPS, _FILTERS = 80, 128
_KINDS = {"lookalikes": 0.3, "typos": 0.5, "accents": 0.3}
_CUTS = (0.35, 0.5)
_SCRIPTS = ("ru", "el", "hi")


def _queries(kind: str, seed: int) -> Trial:
    """nDCG@10 of the shipped table over clean documents, for queries with errors that each arm undoes its own way."""
    ours = _readings(seed)

    def value(treat: Treatment) -> Figures:
        return _figures(treat, kind, seed)

    return Trial(
        measured=value(ours["pictures"].fold),
        baseline=value(str),
        ablated=value(ours["random frozen rows"].fold),
        alternatives={
            "the same network on letters trained from random rows": value(ours["trained letters"].fold),
            "the same network on bytes": value(ours["trained bytes"].fold),
            "Unicode compatibility forms": value(_compatible),
            "words spelled by character n-grams, at the better of two thresholds": _spelled(_compatible, kind, seed),
            "letters folded by their pictures without training, then that spelling": _spelled(_folding(), kind, seed),
            "search by character n-grams without vectors": _ngram_figures(kind, seed),
        },
    )


def _untrained(seed: int) -> Trial:
    """Lookalikes undone by the table alone, before spelling by character n-grams."""
    return Trial(
        measured=_spelled(_folding(), "lookalikes", seed),
        baseline=_figures(str, "lookalikes", seed),
        ablated=_spelled(_folding(identity=1.0), "lookalikes", seed),
        alternatives={
            "Unicode compatibility forms, then the same spelling": _spelled(_compatible, "lookalikes", seed),
            "search by character n-grams without vectors": _ngram_figures("lookalikes", seed),
        },
    )


def _unseen(seed: int) -> Trial:
    """Share of mistyped words found among all words of a script that was not trained on."""
    from orthant.datasets import load_retrieval
    from orthant.datasets.perturbations import perturb
    from orthant.encoders.words.corpus import words_of

    ours = _readings(seed)
    found: dict[str, dict[str, float]] = {}
    for language in _SCRIPTS:
        data = load_retrieval("xquad", lang_corpus=language, lang_query=language)
        known = sorted({word for one in data.corpus for word in words_of(one.content) if len(word) >= 4})
        asked = perturb(known, "typos", rate=1.0, seed=seed)
        kept = [i for i in range(len(known)) if asked[i] != known[i]][:1000]
        arms = {name: _matched(reading, known, [asked[i] for i in kept]) for name, reading in ours.items()}
        arms["n-grams"] = _Speller(known).best([asked[i] for i in kept])[0]
        for name, places in arms.items():
            found.setdefault(name, {})[language] = float(np.mean(np.equal(places, kept)))
    figures = {name: {"found": float(np.mean(list(one.values()))), **one} for name, one in found.items()}
    return Trial(
        measured=figures["pictures"],
        baseline=figures["trained letters"],
        ablated=figures["random frozen rows"],
        alternatives={
            "the same network on bytes": figures["trained bytes"],
            "character n-grams weighed by rarity in that language": figures["n-grams"],
        },
    )


@cache
def _readings(seed: int) -> dict[str, Any]:
    from orthant.encoders.glyphs.table import GlyphTable
    from orthant.learn.text.glyphs import train_word_reading

    texts = [text for name in _SETS for text in _data(name)[0]]
    arms: dict[str, dict[str, Any]] = {
        "pictures": {},
        # The mechanism off: frozen rows of the same size that say which letter it is and nothing of its look.
        "random frozen rows": {"table": GlyphTable(dim=64, identity=1.0)},
        "trained letters": {"frozen": False},
        "trained bytes": {"frozen": False, "unit": "byte"},
    }
    return {
        name: train_word_reading(texts, steps=_STEPS, filters=_FILTERS, seed=seed, threads=1, **arm)
        for name, arm in arms.items()
    }


@cache
def _data(name: str) -> tuple[list[str], list[str], Array, Array]:
    """Texts, judged queries, grades (queries by documents), and the documents' vectors by the shipped table."""
    from orthant.datasets import load_retrieval
    from orthant.encoders.registry import load_encoder

    data = load_retrieval(name)
    asked = [query for query in data.judged if data.queries[query].strip()]
    asked = [asked[i] for i in sorted(np.random.default_rng(7).permutation(len(asked))[:_QUERIES].tolist())]
    relevant = {d for query in asked for d, grade in data.qrels[query].items() if grade > 0}
    rows = sorted(range(len(data.corpus)), key=lambda i: (data.corpus[i].id not in relevant, i))[:_DOCUMENTS]
    place = {data.corpus[row].id: i for i, row in enumerate(rows)}
    grades = np.zeros((len(asked), len(rows)))
    for i, query in enumerate(asked):
        for document, grade in data.qrels[query].items():
            if document in place:
                grades[i, place[document]] = grade
    texts = [data.corpus[row].content for row in rows]
    return texts, [data.queries[query] for query in asked], grades, load_encoder("static").encode(texts)


@cache
def _speller() -> _Speller:
    from collections import Counter

    from orthant.encoders.words.corpus import words_of

    counts = Counter(word for name in _SETS for text in _data(name)[0] for word in words_of(text))
    return _Speller([word for word, _ in counts.most_common(30_000)])


def _figures(treat: Treatment, kind: str, seed: int) -> Figures:
    from orthant.datasets.perturbations import perturb
    from orthant.encoders.registry import load_encoder

    encoder = load_encoder("static")
    found = {}
    for name in _SETS:
        _, queries, grades, X = _data(name)
        for told, asked in (
            (name, perturb(queries, kind, rate=_KINDS[kind], seed=seed)),  # type: ignore[arg-type]
            (f"{name} clean", queries),
        ):
            found[told] = _ndcg(encoder.encode([treat(text) for text in asked]) @ X.T, grades)
    return _summary(found)


@cache
def _folding(identity: float = 0.05) -> Treatment:
    from orthant.encoders.glyphs.folding import LookalikeFolding
    from orthant.encoders.glyphs.table import GlyphTable

    return LookalikeFolding(table=GlyphTable(identity=identity)).fold


@cache
def _spelled(first: Treatment, kind: str, seed: int) -> Figures:
    """Spelling by n-grams after something else, at its better threshold in the eyes of the judged queries."""
    speller = _speller()

    def treat(cut: float, text: str) -> str:
        return speller.fold(first(text), cut)

    tried = [_figures(partial(treat, cut), kind, seed) for cut in _CUTS]
    return max(tried, key=lambda figures: figures["ndcg@10"])


@cache
def _ngram_figures(kind: str, seed: int) -> Figures:
    from orthant.datasets.perturbations import perturb

    found = {}
    for name in _SETS:
        _, queries, grades, _ = _data(name)
        weigh, rows = _ngrams(name)
        for told, asked in (
            (name, perturb(queries, kind, rate=_KINDS[kind], seed=seed)),  # type: ignore[arg-type]
            (f"{name} clean", queries),
        ):
            found[told] = _ndcg((weigh.transform([_compatible(text) for text in asked]) @ rows.T).toarray(), grades)
    return _summary(found)


def _summary(found: dict[str, float]) -> Figures:
    clean = float(np.mean([found[f"{name} clean"] for name in _SETS]))
    each = {name: found[name] for name in _SETS}
    return {"ndcg@10": float(np.mean(list(each.values()))), "clean": clean, **each}


def _ndcg(scores: Array, grades: Array) -> float:
    from orthant.measures import ndcg

    best = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    run = {str(i): {str(j): float(scores[i, j]) for j in row} for i, row in enumerate(best.tolist())}
    judged = {
        str(i): {str(j): int(row[j]) for j in np.flatnonzero(row).tolist()} for i, row in enumerate(grades) if row.any()
    }
    return float(ndcg({i: run[i] for i in judged}, judged, k=10).mean)


@cache
def _ngrams(name: str) -> tuple[Any, Any]:
    from sklearn.feature_extraction.text import TfidfVectorizer

    weigh = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
    return weigh, weigh.fit_transform(_data(name)[0])


class _Speller:
    """Unknown words replaced by the known ones that share the rarest character n-grams."""

    def __init__(self, words: Any) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self.words = tuple(words)
        self.weigh = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True)
        self.rows = self.weigh.fit_transform(self.words)
        self.known = set(self.words)
        self.seen: dict[str, tuple[int, float]] = {}

    def best(self, words: list[str]) -> tuple[Array, Array]:
        scores = (self.weigh.transform(words) @ self.rows.T).tocsr()
        places = np.asarray(scores.argmax(axis=1)).ravel()
        return places, np.asarray(scores.max(axis=1).todense()).ravel()

    def fold(self, text: str, cut: float) -> str:
        from orthant.encoders.words.corpus import WORD_PATTERN

        found = {word.lower() for word in WORD_PATTERN.findall(text)}
        new = sorted(word for word in found if word not in self.known and word not in self.seen and len(word) >= 3)
        if new:
            self.seen.update(zip(new, zip(*(one.tolist() for one in self.best(new)), strict=True), strict=True))

        def written(match: Any) -> str:
            place, score = self.seen.get(match[0].lower(), (0, 0.0))
            return self.words[place] if score >= cut else str(match[0])

        return WORD_PATTERN.sub(written, text)


def _matched(reading: Any, known: list[str], asked: list[str]) -> Array:
    found: Array = (reading.encode_words(asked) @ reading.encode_words(known).T).argmax(axis=1)
    return found


def _compatible(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


_ARMS = (
    "Mean nDCG@10 over aerodynamics, questions about code and medical questions, 1,000 documents each, by the shipped "
    "table of token vectors"
)

PAPER = Paper(
    key="frozen-glyphs",
    title=("Emergent Semantics Beyond Token Embeddings: Transformer LMs with Frozen Visual Unicode Representations"),
    arxiv="2507.04886",
    year=2025,
    wing="space",
    lives_in=("orthant.encoders.glyphs", "orthant.learn.text.glyphs"),
    summary=(
        "Replaces the learned input table of a language model with drawings: each character's rendered shape is "
        "compressed to a vector that is never trained, and meaning has to arise in the layers above. Interesting "
        "when one input table must serve every script and many models; it is no shortcut to better search by itself. "
        "Its place in Orthant: a glyph table and a tokenizer of code points without torch, and small networks on the "
        "frozen table that undo typing errors and disguised letters in front of any encoder. Language models are not "
        "trained here."
    ),
    keywords=("Unicode", "frozen embeddings", "glyph rendering", "tokenizer", "multilingual", "language model"),
    status="works",
    claims=(
        Claim(
            name="disguised-queries",
            sentence=(
                f"{_ARMS}, for queries in which 30 % of the letters that have a lookalike in another script became "
                "it: words read by a small network on frozen pictures of letters, trained on mistyped Latin words "
                "only, beside the same network on trained letters and on bytes, compatibility forms, spelling by "
                "character n-grams, the same after letters were folded by their pictures without training, and search "
                "by character n-grams."
            ),
            data="real",
            run=partial(_queries, "lookalikes"),
            metric="ndcg@10",
            margin=0.005,
            ablation="frozen random rows in place of pictures",
            needs=_SETS,
        ),
        Claim(
            name="mistyped-queries",
            sentence=(
                f"{_ARMS}, for queries in which half of the words of four letters or more are mistyped once: the same "
                "arms. Typing errors keep the letters, so pictures are not expected to help."
            ),
            data="real",
            run=partial(_queries, "typos"),
            metric="ndcg@10",
            needs=_SETS,
        ),
        Claim(
            name="folding-without-training",
            sentence=(
                f"{_ARMS}, for the same disguised queries: letters folded to the Latin ones whose pictures are "
                "nearest, then spelling by character n-grams at the better of two thresholds, beside compatibility "
                "forms with the same spelling and search by character n-grams."
            ),
            data="real",
            run=_untrained,
            metric="ndcg@10",
            margin=0.05,
            ablation="random rows in place of pictures",
            needs=_SETS,
        ),
        Claim(
            name="scripts-never-trained-on",
            sentence=(
                "Share of mistyped Russian, Greek and Hindi words found among all words of 240 paragraphs, by the "
                "readings that were trained on English; the baseline is the one on trained letters, whose rows of "
                "these scripts are random."
            ),
            data="real",
            run=_unseen,
            metric="found",
            needs=(*_SETS, "xquad"),
        ),
    ),
)
