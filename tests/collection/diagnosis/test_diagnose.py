"""Figures of made vectors whose shape is known, advice that follows from them, and the page."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

import orthant
from orthant.cli.main import main
from orthant.collection.diagnosis.report import Estimate
from orthant.collection.diagnosis.searches import margins
from orthant.datasets.generators import subspace_sphere
from orthant.errors import InputError


def _collection(path, X, **settings):
    made = orthant.open(path, **settings)
    made.upsert([str(i) for i in range(len(X))], vectors=X)
    return made


@pytest.fixture(scope="module")
def sphere(tmp_path_factory):
    made = _collection(tmp_path_factory.mktemp("d") / "sphere", subspace_sphere(1500, 48, 8, seed=1))
    yield made
    made.close()


def test_it_finds_the_dimension_and_that_nothing_is_wrong(sphere):
    found = sphere.diagnose(sample=300)
    dimension = found.figures["local_dimension"]
    assert 5 < dimension.low <= dimension.value <= dimension.high < 8
    assert abs(found.figures["effective_dimension"].value - 8) < 0.5
    assert found.figures["recall"].value == 1.0
    assert found.figures["equal_to_another"].value == 0.0
    assert abs(found.figures["mean_cosine"].value) < 0.02
    assert found.facts["search"]["plan"] == "scan"
    assert "order" in found.missing
    assert any("fills about 8 of 48" in line for line in found.advice)
    assert not any("same vector" in line for line in found.advice)


def test_equal_seeds_give_equal_figures(sphere):
    one, two = (sphere.diagnose(sample=100, seed=4, order=False) for _ in range(2))
    timed = "milliseconds_per_query"
    assert {k: v for k, v in one.figures.items() if k != timed} == {k: v for k, v in two.figures.items() if k != timed}


def test_it_sees_copies_a_common_direction_and_lengths(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((600, 32)).astype(np.float32) + 1.5
    X[300:400] = X[:100]
    X *= rng.uniform(0.2, 3.0, (600, 1)).astype(np.float32)
    with _collection(tmp_path / "c", X) as made:
        found = made.diagnose(sample=600, order=False)
    equal = found.figures["equal_to_another"]
    assert equal.value == pytest.approx(200 / 600) and equal.low < equal.value < equal.high
    text = " ".join(found.advice)
    assert "same vector" in text and "share a direction" in text and "differ in length" in text


def test_queries_of_another_kind_have_another_dimension(sphere):
    rng = np.random.default_rng(2)
    found = sphere.diagnose(queries=rng.standard_normal((80, 48)), sample=100, order=False)
    assert found.figures["local_dimension_of_queries"].low > found.figures["local_dimension"].high
    assert found.sample["queries"] == "given"


def test_other_metrics_and_texts(tmp_path):
    X = np.random.default_rng(1).standard_normal((300, 8)).astype(np.float32)
    values = []
    for metric in ("l2", "dot"):
        with _collection(tmp_path / metric, X, metric=metric) as made:
            values.append(made.diagnose(sample=200, order=False).figures["local_dimension"].value)
    # The dimension is one of distances, whatever a space scores by.
    assert values[0] == pytest.approx(values[1], rel=1e-3)
    with orthant.open(tmp_path / "t", encoder="static") as made:
        made.upsert([str(i) for i in range(60)], texts=[f"note {i} about boats and kites" for i in range(60)])
        found = made.diagnose(queries=["boats"] * 5, sample=60)
    assert found.figures["recall"].count == 5 and "hubness" in found.missing


def test_recall_is_that_of_the_graph_and_falls_with_effort(tmp_path):
    from orthant.collection.dense import DenseIndex
    from orthant.collection.diagnosis.sampling import distances_to, draw, live_rows
    from orthant.collection.diagnosis.searches import by_quarter, recall_of_searches

    X = np.random.default_rng(1).standard_normal((400, 16)).astype(np.float32)
    with _collection(tmp_path / "c", X) as made:
        now = made._store.refreshed()
        flat = now.index("default")
        drawn = draw(distances_to(now, "default"), live_rows(now, "default")[:100], X[:100])

    class Blind(DenseIndex):
        def search(self, Q, k=10, **settings):
            found = super().search(Q, k + 3, **settings)
            return type(found)(found.ids[:, 3:], found.scores[:, 3:], found.counts - 3, found.cost)

    assert recall_of_searches(DenseIndex(lambda: flat, live=now.live), flat, drawn)[0].mean() == 1.0
    blind, _ = recall_of_searches(Blind(lambda: flat, live=now.live), flat, drawn)
    assert blind.mean() == pytest.approx(0.8)
    bins = by_quarter(np.arange(100.0), (np.arange(100) < 25) * 1.0, 0)
    assert [b.estimate.value for b in bins] == [1.0, 0.0, 0.0, 0.0]


def test_searches_are_not_judged_before_their_code_is_compiled(tmp_path, monkeypatch):
    from orthant.collection.dense import DenseIndex
    from orthant.collection.diagnosis.sampling import distances_to, draw, live_rows
    from orthant.collection.diagnosis.searches import cost_figures, recall_of_searches
    from orthant.kernels import warmup

    X = np.random.default_rng(1).standard_normal((400, 16)).astype(np.float32)
    with _collection(tmp_path / "c", X) as made:
        now = made._store.refreshed()
        flat = now.index("default")
        drawn = draw(distances_to(now, "default"), live_rows(now, "default")[:100], X[:100])

    class Cold(DenseIndex):
        """Exact, until the code of graphs is there."""

        def search(self, Q, k=10, **settings):
            found = super().search(Q, k + 3, **settings)
            if warmup.is_ready("graph"):
                return type(found)(
                    found.ids[:, 3:], found.scores[:, 3:], found.counts - 3, replace(found.cost, distances=1)
                )
            warmup.ensure_compiling("graph")
            return super().search(Q, k, **settings)

    for measured in (
        lambda one: recall_of_searches(one, flat, drawn)[0].mean() < 0.9,
        lambda one: cost_figures(one, drawn, 0)[0]["vectors_compared_per_query"].high == 1,
    ):
        monkeypatch.delitem(warmup._ready, "graph", raising=False)
        assert measured(Cold(lambda: flat, live=now.live))


def test_margin_is_the_gap_after_the_tenth():
    distances = np.array([[1.0] * 9 + [2.0, 3.0, 9.0]])
    assert margins(distances).tolist() == [0.5]


@pytest.mark.slow
def test_order_is_flagged_only_outside_random_builds(tmp_path):
    X = np.random.default_rng(1).standard_normal((2600, 12)).astype(np.float32)
    with _collection(tmp_path / "c", X) as made:
        found = made.diagnose(sample=100)
    bins = found.curves["order"]
    assert [b.label for b in bins] == ["random order", "hardest rows first", "easiest rows first"]
    low, high = bins[0].estimate.low, bins[0].estimate.high
    outside = [b.label for b in bins[1:] if not low <= b.estimate.value <= high]
    assert found.facts["order"]["flagged"] == outside


def test_bad_input_is_refused(tmp_path, sphere):
    with (
        _collection(tmp_path / "few", np.eye(20, dtype=np.float32)) as few,
        pytest.raises(InputError, match="at least 50"),
    ):
        few.diagnose()
    for settings in ({"sample": 10}, {"space": "absent"}, {"queries": np.zeros((3, 48))}, {"queries": np.ones((3, 7))}):
        with pytest.raises(InputError):
            sphere.diagnose(**settings)


class _Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.outside = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.outside += [value for name, value in attrs if name in {"src", "href"}]


def test_the_page_is_whole_and_needs_nothing_else(sphere, tmp_path, capsys):
    target = tmp_path / "page.html"
    with pytest.raises(SystemExit) as stop:
        main(["diagnose", str(sphere.path), "--no-order", "--sample", "100", "--html", str(target), "--json"])
    assert stop.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert found["figures"]["recall"]["value"] == 1.0
    assert found["facts"]["room"]["extrapolated"] is True
    page = _Page()
    text = target.read_text(encoding="utf-8")
    page.feed(text)
    assert page.tags.count("svg") >= 6 and "script" not in page.tags and "link" not in page.tags and not page.outside
    assert "extrapolation" in text and "95 % interval" in text
    # As a terminal shows them.
    assert ">1,500<" in text and "<code>compress</code>" in text and "`" not in text
    # Unit vectors differ by rounding only, of which there is nothing to see.
    assert "All are 1." in text
    # A label ends where its bar begins, and its first letter is within the picture.
    labels = re.findall(r'<text x="(\d+)" y="\d+" text-anchor="end">(\D[^<]*)<', text)
    assert len(labels) >= 8 and all(int(x) >= 6 * len(label) for x, label in labels)


def test_a_person_reads_counts_and_a_page_that_cannot_be_written_is_refused_first(
    sphere, tmp_path, capsys, monkeypatch
):
    def ran(*options):
        with pytest.raises(SystemExit) as stop:
            main(["diagnose", str(sphere.path), "--no-order", "--sample", "100", *options])
        return stop.value.code, capsys.readouterr()

    code, shown = ran()
    assert code == 0 and "1,500" in shown.out and "e+03" not in shown.out and "`compress`" in shown.out
    monkeypatch.setattr("orthant.collection.collection.Collection.diagnose", lambda *_, **__: pytest.fail("measured"))
    code, shown = ran("--html", str(tmp_path / "absent" / "page.html"))
    assert code == 2 and "folder that exists" in shown.err


def test_estimates_print_their_interval():
    assert str(Estimate(0.5, 0.25, 0.75, 10)) == "0.5 (0.25 to 0.75)"
