"""The lexical index: exact statistics under any history, query features, threads, and files."""

from __future__ import annotations

import math
import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orthant.collection.lexical.analysis import Analyzer
from orthant.collection.lexical.index import Lexical
from orthant.errors import (
    InputError,
    NotFoundError,
    StoreCorruptedError,
    StoreVersionError,
)
from orthant.kernels.bitmaps import from_rows, to_rows

VOCABULARY = "the red fox foxes running runs house of city cities a naïve 東京都 read_csv x1 housing"
WORDS = VOCABULARY.split()
QUERIES = [
    "red fox",
    '"red fox"',
    "fox -red",
    "+city houses",
    "ho*",
    "the",
    '"the red"',
    "-fox",
    "東京",
    "都",
    "fox fox",
]
TEXTS = [
    "The red fox runs over the house",
    "A house of red bricks in the city",
    "Foxes and hounds run through cities",
    "",
    "Nothing but the red, red fox.",
    "read_csv reads a file",
]


def random_texts(count: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, size=rng.integers(0, 12))) for _ in range(count)]


def found(index: Lexical, query: str, **options) -> list[int]:
    return index.search(query, **options)[0].tolist()


def same_answers(a: Lexical, b: Lexical, queries=QUERIES) -> None:
    for query in queries:
        left, right = a.search(query, k=50), b.search(query, k=50)
        assert left[0].tolist() == right[0].tolist(), query
        np.testing.assert_allclose(left[1], right[1], rtol=1e-6)


@pytest.fixture(scope="module")
def index() -> Lexical:
    return Lexical.empty().with_batch(np.arange(len(TEXTS)) + 10, TEXTS)


# ---- scores


def reference(texts: dict[int, str], query: list[str], analyzer: Analyzer) -> dict[int, float]:
    docs = {r: [analyzer.term(w) for w in analyzer.words(t) if not analyzer.is_stop_word(w)] for r, t in texts.items()}
    average = sum(map(len, docs.values())) / max(1, len(docs))
    out = {}
    for row, doc in docs.items():
        score = 0.0
        for word in query:
            df = sum(word in other for other in docs.values())
            tf = doc.count(word)
            if tf:
                idf = math.log(1 + (len(docs) - df + 0.5) / (df + 0.5))
                score += idf * tf / (tf + 1.2 * (0.25 + 0.75 * len(doc) / average))
        if score > 0:
            out[row] = score
    return out


@pytest.mark.parametrize("analyzer", [Analyzer(), Analyzer(stem=None, stopwords=None)])
def test_scores_follow_the_equation(analyzer):
    texts = dict(enumerate(random_texts(200, seed=1)))
    built = Lexical.empty(analyzer=analyzer).with_batch(list(texts), list(texts.values()))
    for query in ("red fox", "running house city", "x1 naïve cities fox"):
        rows, scores = built.search(query, k=500)
        expected = reference(texts, [analyzer.term(w) for w in analyzer.words(query)], analyzer)
        assert dict(zip(rows.tolist(), scores.tolist(), strict=True)) == pytest.approx(expected, rel=1e-5)
        assert np.all(np.diff(scores) <= 0)


def test_equal_scores_go_by_row_across_chunks():
    built = Lexical.empty()
    for row in (7, 3, 5, 1):
        built = built.with_batch([row], ["red fox"])
    assert found(built, "fox", k=3) == [1, 3, 5]


histories = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.lists(st.lists(st.sampled_from(WORDS), max_size=6), min_size=1, max_size=5)),
        st.tuples(st.just("remove"), st.lists(st.integers(0, 30), min_size=1, max_size=6)),
        st.tuples(st.just("compact"), st.just([])),
    ),
    max_size=14,
)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(histories)
def test_w81_statistics_are_exact_after_any_history(history):
    index, texts, following = Lexical.empty(), {}, 0
    for action, payload in history:
        if action == "add":
            rows = list(range(following, following + len(payload)))
            following += len(rows)
            texts.update(zip(rows, map(" ".join, payload), strict=True))
            # Batches arrive in any row order.
            index = index.with_batch(rows[::-1], [texts[r] for r in reversed(rows)])
        elif action == "remove" and texts:
            gone = list({sorted(texts)[i % len(texts)] for i in payload})
            index = index.without(gone)
            for row in gone:
                del texts[row]
        elif action == "compact":
            index = index.compacted()
    fresh = Lexical.empty().with_batch(list(texts), list(texts.values()))
    same_answers(index, fresh)
    assert index.rows().tolist() == sorted(texts)
    assert index.statistics().average_length == pytest.approx(fresh.statistics().average_length)
    for query in QUERIES:
        np.testing.assert_array_equal(index.score_rows(query, list(texts)), fresh.score_rows(query, list(texts)))


def test_w81_merges_change_nothing_and_drop_dead_rows():
    texts = random_texts(1_500, seed=2)
    built = Lexical.empty()
    for start in range(0, 1_500, 7):
        rows = np.arange(start, min(start + 7, 1_500))
        built = built.with_batch(rows, [texts[r] for r in rows])
        if start % 3 == 0:
            built = built.without(rows[:3])
    alive = built.rows()
    fresh = Lexical.empty().with_batch(alive, [texts[r] for r in alive])
    same_answers(built, fresh)
    statistics = built.statistics()
    assert statistics.chunks <= 12
    assert statistics.dead <= len(alive)
    assert built.compacted().statistics().dead == 0


def test_many_small_batches_stay_few_chunks():
    built = Lexical.empty()
    for row in range(600):
        built = built.with_batch([row], ["red fox"])
        assert len(built._chunks) <= 10
    assert len(built) == 600


def test_a_removed_row_may_come_back():
    built = Lexical.empty().with_batch([1, 2], ["red fox", "red house"]).without([1]).with_batch([1], ["city"])
    same_answers(built, Lexical.empty().with_batch([1, 2], ["city", "red house"]))


# ---- query features


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("fox", {10, 12, 14}),
        ('"fox"', {10, 14}),
        ('"red fox"', {10, 14}),
        ('"RED,  fox!"', {10, 14}),
        ('"the red"', {14, 10}),
        ('"over the house"', {10}),
        ('"fox red"', set()),
        ('"house the red"', set()),
        ("fox -red", {12}),
        ('fox -"red fox"', {12}),
        ('red -"red fox"', {11}),
        ("+fox house", {10, 12, 14}),
        ("+fox +house", {10}),
        ("+read_csv", {15}),
        ("+csv_read", set()),
        ("hou*", {10, 11, 12}),
        ("+hou* -fox", {11}),
        ("ho* -hound*", {10, 11}),
        ("the", {10, 11, 14}),
        ("of the", {10, 11, 14}),
        ("of the bricks", {11}),
        ("-red", set()),
        ("", set()),
        ("?!", set()),
        ("unknown", set()),
        ('"unknown fox"', set()),
        ("fox +unknown", set()),
        ("fox -unknown", {10, 12, 14}),
        ('fox "unbalanced', {10, 12, 14}),
        ("z*", set()),
    ],
)
def test_query_features(index, query, rows):
    assert set(found(index, query)) == rows
    scores = index.score_rows(query, np.arange(9, 17))
    assert set((np.flatnonzero(scores) + 9).tolist()) == rows


def test_a_phrase_is_scored_as_one_term(index):
    rows, scores = index.search('"red fox"')
    idf = math.log(1 + (6 - 2 + 0.5) / (2 + 0.5))
    lengths = {10: 5, 14: 4}
    average = index.statistics().average_length
    expected = {r: idf / (1 + 1.2 * (0.25 + 0.75 * n / average)) for r, n in lengths.items()}
    assert dict(zip(rows.tolist(), scores.tolist(), strict=True)) == pytest.approx(expected)


def test_rare_phrases_are_found_by_candidates_as_by_reading_all():
    texts = random_texts(2_000, seed=4)
    texts[77], texts[1999] = "some ochre lamp of glass", "lamp ochre ochre lamp of glass ochre lamp"
    built = Lexical.empty().with_batch(np.arange(2_000), texts)
    assert set(found(built, '"ochre lamp"')) == {77, 1999}
    assert set(found(built, '"lamp of glass"')) == {77, 1999}
    assert found(built, '"lamp ochre"') == [1999]
    expected = {i for i, t in enumerate(texts) if " red fox " in f" {t} "}
    assert set(found(built, '"red fox"', k=2_000)) == expected


def test_scripts_without_spaces():
    built = Lexical.empty().with_batch([1, 2, 3], ["私は東京都に住む", "京都へ行く", "猫が好き"])
    assert found(built, "東京") == [1]
    assert found(built, "京都")[0] == 2
    assert found(built, "猫") == [3]
    assert set(found(built, "都")) == {1, 2}
    assert found(built, '"東京都"') == [1]


def test_plain_syntax(index):
    assert set(found(index, '-red "fox"', syntax="plain")) == {10, 11, 12, 14}
    with pytest.raises(InputError):
        index.search("red", syntax="lucene")


@pytest.mark.parametrize("form", ["ids", "mask", "bitmap"])
def test_allowed_restricts_rows_and_leaves_scores(index, form):
    rows = np.array([12, 14, 400])
    mask = np.zeros(401, dtype=bool)
    mask[rows] = True
    allowed = {"ids": rows, "mask": mask, "bitmap": from_rows(rows)}[form]
    everything = dict(zip(*(a.tolist() for a in index.search("red fox")), strict=True))
    got = dict(zip(*(a.tolist() for a in index.search("red fox", allowed=allowed)), strict=True))
    assert got == {row: everything[row] for row in (12, 14)}
    assert found(index, "red fox", allowed=allowed, live=[14]) == [14]
    assert found(index, "red fox", allowed=np.zeros(0, dtype=np.uint64)) == []


def test_allowed_with_gaps_between_rows():
    built = Lexical.empty().with_batch([5, 70, 1000], ["fox"] * 3)
    assert found(built, "fox", allowed=from_rows(np.array([5, 1000]))) == [5, 1000]


def test_matching_gives_other_legs_the_conditions(index):
    assert index.matching("red fox") is None
    assert set(to_rows(index.matching("-red")).tolist()) == {12, 13, 15}
    assert set(to_rows(index.matching('x "red fox"')).tolist()) == {10, 14}
    assert to_rows(index.without([10]).matching("+fox")).tolist() == [12, 14]


def test_score_rows_agree_with_search():
    texts = random_texts(500, seed=5)
    built = Lexical.empty().with_batch(np.arange(300), texts[:300]).with_batch(np.arange(300, 500), texts[300:])
    built = built.without([3, 4, 310])
    for query in QUERIES:
        rows, scores = built.search(query, k=500)
        expected = np.zeros(520, dtype=np.float32)
        expected[rows] = scores
        np.testing.assert_array_equal(built.score_rows(query, np.arange(520)), expected)


# ---- borders


def test_empty_index(tmp_path):
    empty = Lexical.empty()
    for query in QUERIES:
        rows, scores = empty.search(query)
        assert (rows.dtype, rows.shape, scores.dtype, scores.shape) == (np.int64, (0,), np.float32, (0,))
        assert empty.score_rows(query, [1, 2]).tolist() == [0, 0]
    assert empty.with_batch([], []) is empty
    assert len(empty.compacted()) == len(empty.without([])) == 0
    empty.save(tmp_path / "empty.lex")
    assert found(Lexical.load(tmp_path / "empty.lex").with_batch([1], ["fox"]), "fox") == [1]
    gone = empty.with_batch([1], ["fox"]).without([1])
    assert len(gone) == 0
    assert found(gone, "fox") == []


def test_texts_without_words_count_as_documents():
    built = Lexical.empty().with_batch([0, 1], ["", "..."])
    assert len(built) == 2
    assert found(built, "fox") == []
    assert built.statistics().average_length == 0
    assert len(built.without([0])) == 1
    assert found(built.with_batch([2], ["fox"]), "fox") == [2]


@pytest.mark.parametrize(
    ("rows", "texts"),
    [([1, 1], ["a", "b"]), ([-1], ["a"]), ([1], ["a", "b"]), ([1.5], ["a"]), ([10], ["a"]), ([1], [None]), ([1], "a")],
)
def test_bad_batches_are_refused(index, rows, texts):
    with pytest.raises(InputError):
        index.with_batch(rows, texts)
    assert len(index) == len(TEXTS)


def test_removing_what_is_not_there_is_refused(index):
    smaller = index.without([10])
    for rows in ([10], [11, 999]):
        with pytest.raises(NotFoundError):
            smaller.without(rows)
    assert len(smaller) == len(TEXTS) - 1
    assert len(index) == len(TEXTS)


def test_bad_settings_are_refused(index):
    for options in ({"k1": -1}, {"b": 1.1}, {"k1": float("nan")}):
        with pytest.raises(InputError):
            Lexical.empty(**options)
    with pytest.raises(InputError):
        index.search("fox", k=0)
    with pytest.raises(InputError):
        index.search(None)


def test_compacted_forgets_dead_words_and_keeps_the_given_rows(index):
    kept = index.compacted(from_rows(np.array([10, 12])))
    same_answers(kept, Lexical.empty().with_batch([10, 12], [TEXTS[0], TEXTS[2]]))
    assert kept._vocabulary.word_number("bricks") == -1
    assert len(index) == len(TEXTS)


def test_eight_threads_search_while_values_are_made():
    texts = random_texts(400, seed=6)
    values = [Lexical.empty().with_batch([0], [texts[0]])]
    expected: dict[int, list[list[int]]] = {}
    failures: list[str] = []
    stop = threading.Event()

    def search() -> None:
        while not stop.is_set():
            value = values[-1]
            answers = [found(value, query) for query in QUERIES]
            if expected.setdefault(id(value), answers) != answers or any(len(set(a)) != len(a) for a in answers):
                failures.append("answers of one value differ")

    threads = [threading.Thread(target=search) for _ in range(8)]
    for thread in threads:
        thread.start()
    try:
        for row in range(1, 400, 3):
            value = values[-1].with_batch([row, row + 400], [texts[row] + f" new{row}", texts[-row]])
            values.append(value.without([row]) if row % 2 else value)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures
    same_answers(values[-1], values[-1].compacted())


# ---- files


@pytest.fixture
def saved(tmp_path):
    texts = random_texts(120, seed=7)
    built = Lexical.empty().with_batch(np.arange(100), texts[:100]).with_batch(np.arange(100, 120), texts[100:])
    built = built.without([5, 101])
    path = tmp_path / "index.lex"
    built.save(path)
    return built, path


def test_loaded_answers_are_identical_and_it_goes_on(saved):
    built, path = saved
    loaded = Lexical.load(path)
    for query in QUERIES:
        for left, right in zip(built.search(query, k=50), loaded.search(query, k=50), strict=True):
            np.testing.assert_array_equal(left, right)
    loaded.check()
    # A file holds the same in fewer bytes.
    assert replace(loaded.statistics(), memory_bytes=0) == replace(built.statistics(), memory_bytes=0)
    assert loaded.analyzer == built.analyzer
    same_answers(
        loaded.with_batch([900], ["a brandnew fox"]).without([7]),
        built.with_batch([900], ["a brandnew fox"]).without([7]),
        [*QUERIES, "brandnew", "brand*"],
    )


def test_saving_over_a_mapped_file_keeps_both(saved):
    built, path = saved
    loaded = Lexical.load(path)
    bigger = loaded.with_batch([900], ["fox"])
    bigger.save(path)
    same_answers(loaded, built)
    same_answers(Lexical.load(path), bigger)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_other_rules_are_refused(saved, monkeypatch):
    _, path = saved
    with pytest.raises(InputError, match="Rebuild"):
        Lexical.load(path, analyzer=Analyzer(stem=None))
    monkeypatch.setattr("orthant.collection.lexical.analysis._VERSION", 99)
    with pytest.raises(StoreVersionError):
        Lexical.load(path)


def test_newer_formats_and_missing_files_are_named(saved, monkeypatch):
    _, path = saved
    monkeypatch.setattr("orthant.collection.lexical.index._FORMAT", 0)
    with pytest.raises(StoreVersionError):
        Lexical.load(path)
    with pytest.raises(NotFoundError):
        Lexical.load(path.with_name("none"))


def touch_everything(path) -> None:
    loaded = Lexical.load(path)
    for query in QUERIES:
        loaded.search(query)
    loaded.check()


def test_w26_cut_files_raise_only_corruption(saved):
    _, path = saved
    whole = path.read_bytes()
    for length in np.linspace(0, len(whole) - 1, 200).astype(int):
        path.write_bytes(whole[:length])
        with pytest.raises(StoreCorruptedError, match=path.name):
            touch_everything(path)


def test_w26_flipped_bits_raise_only_corruption(saved):
    _, path = saved
    whole = path.read_bytes()
    rng = np.random.default_rng(8)
    for position in [*range(24), *rng.integers(0, len(whole), 200).tolist()]:
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(StoreCorruptedError, match=path.name):
            touch_everything(path)


def test_words_that_a_writer_is_just_numbering_are_not_looked_up():
    vocabulary = Lexical.empty().with_batch([1], ["fox"])._vocabulary
    known = vocabulary.word_number("fox")
    assert vocabulary.terms_of_words([known, 10**6]) == vocabulary.terms_of_words([known])


def test_one_query_is_planned_once_and_never_taken_for_another(monkeypatch):
    from orthant.collection.lexical import index as module

    planned: list[int] = []
    real = module.make_plan

    def counting(*given, **settings):
        planned.append(1)
        return real(*given, **settings)

    monkeypatch.setattr(module, "make_plan", counting)
    first = Lexical.empty().with_batch(list(range(len(TEXTS))), TEXTS)
    rows, scores = first.search("fox -red", k=3)
    first.matching("fox -red")
    np.testing.assert_array_equal(first.score_rows("fox -red", rows), scores)
    assert len(planned) == 1
    first.search("fox -red", k=3, syntax="plain")
    assert len(planned) == 2
    # A later state of the index is another object, and keeps no plan of this one.
    before = len(first.search("fox", k=9)[0])
    later = first.with_batch([100], ["a fox"])
    assert len(later.search("fox", k=9)[0]) == before + 1 and len(first.search("fox", k=9)[0]) == before
