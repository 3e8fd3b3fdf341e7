"""Named concepts: tags give dimensions their meaning, pairs their order, and NumPy serves what torch made."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from orthant.encoders import CallableEncoder  # noqa: E402
from orthant.errors import DimensionError, InputError  # noqa: E402
from orthant.learn import train_concepts  # noqa: E402

PARTS = np.random.default_rng(5).standard_normal((3, 10, 20))


def read(texts):
    """Vectors of texts such as ``q 3 7 0.1``: a side, two concepts and a seed of noise."""
    out = []
    for text in texts:
        side, first, second, seed = text.split()
        noise = np.random.default_rng(int(seed)).standard_normal(20)
        turned = PARTS[0] if side == "d" else 0.6 * PARTS[0] + 0.8 * PARTS[1]
        out.append(turned[int(first)] + turned[int(second)] + 1.2 * noise)
    return np.array(out, dtype=np.float32)


ENCODER = CallableEncoder(read, dim=20, name="two concepts")


def pairs(n=500, seed=0):
    rng = np.random.default_rng(seed)
    both = np.array([rng.choice(10, 2, replace=False) for _ in range(n)])
    noise = rng.integers(0, 1 << 30, (n, 2))
    queries = [f"q {a} {b} {e}" for (a, b), (e, _) in zip(both, noise, strict=True)]
    answers = [f"d {a} {b} {e}" for (a, b), (_, e) in zip(both, noise, strict=True)]
    return queries, answers, [{f"c{a}", f"c{b}"} for a, b in both]


SETTINGS = {"batch_size": 100, "epochs": 15, "learning_rate": 2e-2, "keep": 4, "threads": 1}


def found(made, held):
    """Share of queries that meet an answer of both their concepts first."""
    queries, answers, tags = held
    best = (made.encode_sparse(queries) @ made.encode_sparse(answers).T).toarray().argmax(axis=1)
    return float(np.mean([tags[i] == tags[j] for i, j in enumerate(best)]))


def meant(made, held):
    """Share of answers whose strongest concept is one of their tags."""
    weights = made.weigh(held[1])
    return float(np.mean([made.vocabulary[row.argmax()] in tags for row, tags in zip(weights, held[2], strict=True)]))


def test_tags_give_names_their_meaning_and_pairs_the_order():
    given, held = pairs(), pairs(200, seed=1)
    names = [f"c{i}" for i in range(10)]
    both = train_concepts(ENCODER, *given, concepts=names, **SETTINGS)
    no_tags = train_concepts(ENCODER, *given, concepts=names, tag_weight=0.0, **SETTINGS)
    no_pairs = train_concepts(ENCODER, *given, concepts=names, pair_weight=0.0, **SETTINGS)
    assert meant(both, held) > 0.7 and meant(no_tags, held) < 0.45
    assert found(both, held) > found(no_pairs, held) + 0.1


@pytest.mark.parametrize("activation", ["sigmoid", "relu"])
def test_what_is_served_is_non_negative_and_repeatable(activation, tmp_path):
    given = pairs(200)
    settings = {**SETTINGS, "epochs": 1, "activation": activation, "hidden": 16}
    first, second = (train_concepts(ENCODER, *given, **settings) for _ in range(2))
    assert first.fingerprint == second.fingerprint and len(first.vocabulary) == 10
    assert (first.weigh(given[1]) >= 0).all()
    first.save(tmp_path)
    from orthant.encoders import ConceptEncoder

    assert ConceptEncoder.load(tmp_path, base=ENCODER).fingerprint == first.fingerprint


def test_unknown_tags_are_not_taken_for_absent_ones():
    queries, answers, tags = pairs(300)
    some = [own if i % 3 == 0 else None for i, own in enumerate(tags)]
    made = train_concepts(ENCODER, queries, answers, some, **SETTINGS)
    assert meant(made, pairs(200, seed=1)) > 0.6
    # Were they absent, a tagger would learn that hardly anything has a tag.
    assert made.weigh(answers).sum(axis=1).mean() > 1.0


def test_what_does_not_fit_is_refused():
    queries, answers, tags = pairs(100)
    for wrong, error in (
        ({"concepts": ["c0", "c1"]}, InputError),
        ({"concepts": ["c0", "c0"]}, InputError),
        ({"tag_weight": 0.0, "pair_weight": 0.0}, InputError),
        ({"batch_size": 101}, InputError),
        ({"query_tags": tags[:5]}, DimensionError),
    ):
        with pytest.raises(error):
            train_concepts(ENCODER, queries, answers, tags, **wrong)
    with pytest.raises(InputError, match="set of tags"):
        train_concepts(ENCODER, queries, answers, ["c0"] * 100)
