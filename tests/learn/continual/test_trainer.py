from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from orthant.errors import DimensionError, EncoderMismatchError, InputError

torch = pytest.importorskip("torch")

from orthant.learn.continual import ContinualTrainer, Generation, RehearsalMemory, template_accuracy  # noqa: E402
from orthant.learn.continual.objective import make_backbone  # noqa: E402

CENTRES = 2.2 * np.random.default_rng(5).standard_normal((8, 12))
TASKS = ((0, 1, 2), (3, 4), (5,), (6, 7))


def items(classes=range(8), each=30, seed=0):
    rng = np.random.default_rng(seed)
    y = np.repeat(np.array(list(classes)), each)
    return (CENTRES[y] + 1.5 * rng.standard_normal((len(y), 12))).astype(np.float32), y


def trained(seed=0, tasks=TASKS, **settings):
    given = {"n_prototypes": 12, "hidden": (32,), "epochs": 12, "batch_size": 32, "learning_rate": 5e-3}
    trainer = ContinualTrainer(**(given | settings), seed=seed)
    for number, task in enumerate(tasks):
        trainer.learn(*items(task, seed=10 * seed + number))
    return trainer


@pytest.fixture(scope="module")
def kept():
    return trained()


def report(trainer, **settings):
    return trainer.compatibility(*items(seed=77), *items(seed=78), **settings)


def test_old_galleries_stay_of_use_only_where_features_are_held(kept):
    held, free = report(kept), report(trained(keep="none"))
    assert held.average_accuracy > free.average_accuracy + 0.05
    assert held.average_compatibility > free.average_compatibility
    assert held.matrix.shape == (4, 4) and np.isnan(held.matrix[0, 1]) and held.newest_alone == held.matrix[3, 3]


def test_old_classes_are_not_forgotten_where_they_are_shown_again():
    X, y = items(TASKS[0], seed=50)
    shown, alone = (trained(rehearsal=count, keep="none").generations[-1] for count in (20, 0))
    assert np.mean(np.array(shown.predict(X)) == y) > np.mean(np.array(alone.predict(X)) == y) + 0.08


def test_distillation_keeps_features_nearer_than_nothing():
    near = [trained(keep=how, tasks=TASKS[:2]) for how in ("distillation", "none")]
    X, _ = items(seed=3)
    cosines = [(one.generations[0].encode(X) * one.generations[1].encode(X)).sum(axis=1).mean() for one in near]
    assert cosines[0] > cosines[1] + 0.1


def test_classes_keep_the_directions_that_they_came_to(kept):
    assert kept.generations[-1].classes == (0, 1, 2, 3, 4, 5, 6, 7)
    for older, newer in zip(kept.generations, kept.generations[1:], strict=False):
        newer.check_follows(older)
        np.testing.assert_array_equal(newer.prototypes, older.prototypes)
    other = replace(kept.generations[-1], classes=(1, 0, 2, 3))
    with pytest.raises(EncoderMismatchError, match="other directions"):
        other.check_follows(kept.generations[0])


def test_the_drift_between_two_generations_is_the_sum_of_the_steps(kept):
    X, _ = items(seed=4)
    task = items(TASKS[3], seed=3)[0]
    moved = kept.generations[3].encode(task).mean(axis=0) - kept.generations[2].encode(task).mean(axis=0)
    np.testing.assert_allclose(kept.generations[3].drift, moved, atol=1e-5)
    steps = kept.generations[2].drift + kept.generations[3].drift
    plain, compensated = (kept.queries(X, gallery=1, compensate=how) for how in (False, True))
    np.testing.assert_allclose(plain - compensated, np.broadcast_to(steps, plain.shape), atol=1e-5)
    step = kept.compensator(gallery=1)
    np.testing.assert_allclose(step.transform(plain), compensated, atol=1e-5)
    assert step.fingerprints == (kept.generations[3].fingerprint, kept.generations[1].fingerprint)
    np.testing.assert_array_equal(kept.queries(X, gallery=3, compensate=True), kept.generations[3].encode(X))


def test_a_generation_is_saved_with_its_map_of_classes(kept, tmp_path):
    last = kept.generations[-1]
    last.save(tmp_path / "g")
    loaded = Generation.load(tmp_path / "g")
    X, _ = items(seed=6)
    np.testing.assert_allclose(loaded.encode(X), last.encode(X), atol=1e-6)
    assert loaded.classes == last.classes and loaded.fingerprint == last.fingerprint
    np.testing.assert_array_equal(loaded.drift, last.drift)
    loaded.check_follows(kept.generations[0])
    replace(last, fingerprint="0" * 16).save(tmp_path / "h")
    with pytest.raises(EncoderMismatchError, match="fingerprint"):
        Generation.load(tmp_path / "h")


def test_a_model_is_replaced_by_one_of_the_same_directions():
    trainer, other = trained(tasks=TASKS[:1]), trained(seed=3, tasks=[range(6)])
    elsewhere = other._backbone
    before = {name: value.clone() for name, value in elsewhere.state_dict().items()}
    trainer.replace(elsewhere)
    found = trainer.learn(*items((3, 4), seed=1))
    assert all(torch.equal(value, before[name]) for name, value in elsewhere.state_dict().items())
    X, _ = items((3, 4), seed=2)
    # What is held on to is the newcomer, not what the trainer had before.
    near = (found.encode(X) * other.generations[0].encode(X)).sum(axis=1).mean()
    assert near > (found.encode(X) * trainer.generations[0].encode(X)).sum(axis=1).mean()
    with pytest.raises(InputError, match="to 5 dimensions"):
        trainer.replace(make_backbone(12, (8,), 5, seed=0))


def test_reserved_directions_are_left_to_others():
    found = trained(reserved=4, tasks=TASKS[:1]).generations[0]
    assert found.first_vertex == 4
    X, y = items(TASKS[0], seed=9)
    assert np.mean((found.encode(X) @ found.prototypes.T).argmax(axis=1) == y + 4) > 0.8


def test_the_memory_keeps_its_share_of_each_class():
    memory = RehearsalMemory(3, seed=1)
    memory.add(np.arange(10)[:, None], [0] * 8 + [1] * 2)
    memory.add(np.arange(20, 30)[:, None], [0] * 10)
    assert {key: len(rows) for key, rows in memory.rows.items()} == {0: 3, 1: 2}
    rows, labels = memory.sample(11)
    assert len(rows) == len(labels) == 10 and labels.count(1) == 4
    assert RehearsalMemory(0).sample(5)[1] == []


def test_templates_are_means_of_directions():
    gallery, names = np.array([[10.0, 0.0], [0.0, 1.0], [0.0, 3.0]]), np.array(["a", "b", "b"])
    assert template_accuracy(np.eye(2), np.array(["a", "b"]), gallery, names) == 1.0
    with pytest.raises(DimensionError):
        template_accuracy(np.eye(3), np.zeros(3), gallery, names)


def test_what_does_not_fit_is_refused_and_nothing_is_trained():
    trainer = trained(n_prototypes=4, tasks=TASKS[:1])
    with pytest.raises(InputError, match="5 classes for 4 free"):
        trainer.learn(*items((3, 4)))
    with pytest.raises(DimensionError):
        trainer.learn(np.zeros((4, 3)), np.zeros(4))
    with pytest.raises(InputError, match="without items"):
        trainer.learn(np.zeros((0, 12)), np.zeros(0))
    assert len(trainer.generations) == 1 and trainer.classes == [0, 1, 2]
    with pytest.raises(InputError, match=r"1 generation\(s\); expected 2 at least"):
        report(trainer)
    untrained = ContinualTrainer(n_prototypes=4)
    for asked in (lambda: untrained.queries(items()[0], gallery=0), lambda: untrained.encoder("static")):
        with pytest.raises(InputError, match=r"0 generation\(s\).* Learn a task first"):
            asked()
    with pytest.raises(InputError, match="gallery=1"):
        trainer.queries(items()[0], gallery=1)
    with pytest.raises(InputError, match=r"weight=1\.0"):
        ContinualTrainer(weight=1.0)
