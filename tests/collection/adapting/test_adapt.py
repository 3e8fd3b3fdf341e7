"""Adapting from pairs: judged on queries kept apart, applied or refused, kept, passed over for another encoder."""

from __future__ import annotations

import json

import numpy as np
import pytest

import orthant
from orthant.collection.collection import Collection
from orthant.errors import InputError, NotFoundError, StoreReadOnlyError
from orthant.types import EncodeReport

DIM, N = 24, 360


class Asker:
    """Documents lie where their number says; queries of them are turned and blurred, or nearly the same."""

    dim, max_tokens = DIM, None

    def __init__(self, turned: float = 2.5, fingerprint: str = "asker:1") -> None:
        self.turned, self.fingerprint = turned, fingerprint
        rng = np.random.default_rng(0)
        self._items = rng.standard_normal((N, DIM))
        basis = np.linalg.qr(rng.standard_normal((DIM, DIM)))[0]
        self._turn = basis[:, :6] @ basis[:, 6:12].T
        self._noise = rng.standard_normal((N, DIM))

    def encode(self, items, *, role="document", batch_size=64, progress=False):
        out = []
        for text in items:
            if not text.startswith(("document ", "question ")):
                out.append(np.ones(DIM))
                continue
            i = int(text.split()[1])
            x = self._items[i]
            out.append(x if text.startswith("document") else x + self.turned * x @ self._turn + self._noise[i])
        return np.array(out, dtype=np.float32).reshape(-1, DIM)

    def encode_with_report(self, items, **settings):
        return self.encode(items), EncodeReport(items=len(items))


PAIRS = [(f"question {i}", f"d{i}") for i in range(N)]


def made(path, encoder):
    collection = Collection(path, encoder=encoder)
    metadata = [{"module": f"m{i % 12}"} for i in range(N)]
    collection.upsert([f"d{i}" for i in range(N)], texts=[f"document {i}" for i in range(N)], metadata=metadata)
    return collection


def found(collection, mode="dense"):
    results = collection.search_many([q for q, _ in PAIRS], k=1, mode=mode)
    return np.mean([hits.ids[:1] == [key] for hits, (_, key) in zip(results, PAIRS, strict=True)])


@pytest.fixture
def collection(tmp_path):
    with made(tmp_path / "c", Asker()) as opened:
        yield opened


def test_feedback_is_judged_on_other_queries_and_used_until_it_is_taken_back(collection, tmp_path):
    plain, hybrid = found(collection), found(collection, "hybrid")
    report = collection.adapt(PAIRS)
    assert report.recommended and report.applied and report.low > 0 and report.p_value < 0.01
    assert report.queries + report.trained_pairs == N and report.queries == pytest.approx(0.2 * N, abs=2)
    assert report.after - report.before == pytest.approx(report.difference) and "better" in str(report)
    better = found(collection)
    assert better > plain + 0.05 and found(collection, "hybrid") >= hybrid
    assert collection.stats().adapters["default"]["in_use"] and collection.adapters["default"]["rank"] == DIM
    assert (
        collection.search(Asker().encode(["question 3"])[0], k=5).ids
        == collection.search("question 3", k=5, mode="dense").ids
    )
    collection.upsert(["late"], texts=["document 0"])
    with Collection(tmp_path / "c", read_only=True, encoder=Asker()) as reader:
        assert found(reader) == pytest.approx(better, abs=0.01)
        with pytest.raises(StoreReadOnlyError):
            reader.adapt(PAIRS)
        # Judging alone writes nothing; its baseline is the encoder without what is stored.
        assert reader.adapt(PAIRS, apply=False).before == pytest.approx(report.before, abs=0.02)
    collection.delete(["late"])
    assert collection.reset_adapter() and not collection.reset_adapter() and not collection.keep_adapter()
    for call in (collection.reset_adapter, collection.keep_adapter):
        with pytest.raises(NotFoundError, match="'defualt'"):
            call("defualt")
    assert found(collection) == plain and collection.adapters == {}


def test_held_out_figures_are_of_what_searches_then_return(collection):
    report = collection.adapt(PAIRS, seed=3)
    # The held-out queries are those of the records that the seed holds out.
    from orthant.transforms.adaptation.training import split

    _, out = split(np.arange(N), 0.2, np.random.default_rng(3))
    judged = {PAIRS[i][0]: [PAIRS[i][1]] for i in out}
    run = {query: collection.search(query, k=10, mode="dense").ids for query in judged}
    from orthant.measures import score_run

    assert score_run(run, judged, ["ndcg@10"])["ndcg@10"].mean == pytest.approx(report.after, abs=1e-9)


def test_where_nothing_is_gained_nothing_is_applied(tmp_path):
    class Same(Asker):
        def encode(self, items, **settings):
            rng = np.random.default_rng(0)
            known = [text.startswith(("document ", "question ")) for text in items]
            X = self._items[[int(t.split()[1]) if k else 0 for t, k in zip(items, known, strict=True)]]
            return (X + 0.9 * rng.standard_normal(X.shape)).astype(np.float32)

    with made(tmp_path / "c", Same(fingerprint="same")) as opened:
        plain = found(opened)
        report = opened.adapt(PAIRS)
        assert not report.recommended and not report.applied and opened.adapters == {}
        assert "not" in str(report).lower() and found(opened) == plain


def test_groups_are_held_out_whole(collection):
    report = collection.adapt(PAIRS, group_by="module", apply=False)
    assert report.split_by == "module" and report.queries % (N // 12) == 0
    with pytest.raises(InputError, match="colour"):
        collection.adapt(PAIRS, group_by="colour")


def test_questions_asked_again_teach_nothing(collection):
    again = [(f"question {i}", f"d{(i + 1) % N}") for i in range(N)]
    report = collection.adapt(PAIRS + again, apply=False)
    assert report.left_out["asked_in_both_parts"] > 0


def test_an_adapter_of_another_encoder_is_passed_over(collection):
    collection.adapt(PAIRS)
    adapted = collection.search("question 5", k=10, mode="dense")
    from dataclasses import replace

    from orthant.collection.adapting.asking import adapted as corrected
    from orthant.collection.searching import Query

    now = collection._store.refreshed()
    stored = replace(now.adapters["default"], fingerprint="another")
    query = Query("question 5", Asker().encode(["question 5"])[0])
    assert corrected([query], replace(now, adapters={"default": stored}), "default") == [query]
    assert not np.array_equal(corrected([query], now, "default")[0].vector, query.vector)
    assert not stored.to_dict("asker:1")["in_use"] and len(adapted) == 10


def test_snapshots_keep_the_adapter_of_their_time(collection):
    collection.snapshot("before")
    collection.adapt(PAIRS)
    collection.snapshot("after")
    collection.restore("before")
    assert collection.adapters == {}
    collection.restore("after")
    assert collection.adapters["default"]["in_use"]


def test_pairs_come_from_files_tables_mappings_and_vectors(collection, tmp_path):
    wanted = collection.adapt(PAIRS, apply=False)
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps({"query": q, "id": key}) + "\n" for q, key in PAIRS))
    vectors = Asker().encode([q for q, _ in PAIRS])
    for given in (
        path,
        str(path),
        [{"query": q, "id": key} for q, key in PAIRS],
        {q: [key] for q, key in PAIRS},
        {q: {key: 2, "d0" if key != "d0" else "d1": 0} for q, key in PAIRS},
        zip([q for q, _ in PAIRS], [key for _, key in PAIRS], strict=True),
        ((q, key) for q, key in PAIRS),
        ({"query": q, "id": key} for q, key in PAIRS),
        [(x, key) for x, (_, key) in zip(vectors, PAIRS, strict=True)],
    ):
        assert collection.adapt(given, apply=False) == wanted


@pytest.mark.parametrize(
    ("pairs", "settings", "error", "word"),
    [
        ([], {}, InputError, "no pair"),
        (PAIRS[:30], {}, InputError, "at least 20"),
        ([("question 1", "nowhere")] * 30, {}, InputError, "Check the ids"),
        ([*PAIRS[:40], (np.ones(DIM), "d1")], {}, InputError, "texts and vectors"),
        ([("  ", "d1")], {}, InputError, "empty query"),
        ([("question 1", 7)], {}, InputError, "id 7"),
        (["question 1"], {}, InputError, "tuples"),
        (iter([]), {}, InputError, "no pair"),
        ({"question 1": {"d1": "high"}}, {}, InputError, "the grade 'high'"),
        (PAIRS, {"sides": "items"}, InputError, "sides"),
        (PAIRS, {"apply": "always"}, InputError, "apply"),
        (PAIRS, {"held_out": 1.0}, InputError, "held_out"),
        (PAIRS, {"rank": DIM + 1}, InputError, "rank"),
        (PAIRS, {"space": "none"}, NotFoundError, "none"),
    ],
)
def test_bad_pairs_and_settings_are_refused(collection, pairs, settings, error, word):
    with pytest.raises(error, match=word):
        collection.adapt(pairs, **settings)


def test_a_space_that_is_not_searched_by_cosine_is_refused(tmp_path):
    with orthant.open(tmp_path / "c", encoder=Asker(), metric="dot") as opened:
        opened.upsert(["d0"], texts=["document 0"])
        with pytest.raises(InputError, match="cosine"):
            opened.adapt(PAIRS)
