"""The order of rows: epochs, resumption, samplers by name, tables."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from learn.training.problems import stage  # noqa: E402
from orthant.errors import InputError  # noqa: E402
from orthant.learn.samplers import Interleaved, NoDuplicates, Sequential, Shuffled  # noqa: E402
from orthant.learn.training.batches import (  # noqa: E402
    ArrayTable,
    BatchPlan,
    LazyColumns,
    PlannedBatches,
    collate_rows,
    named_tables,
    resolve_order,
)


def _plan(sizes=(20,), *, seed=1, world=1, **changes):
    return BatchPlan(
        stage(**{"batch_size": 6, **changes}), sizes=sizes, columns=[None] * len(sizes), seed=seed, world=world
    )


def test_order_is_the_samplers_epoch_after_epoch():
    found = list(itertools.islice(_plan().batches(), 8))
    wanted = [
        [(0, row) for row in batch]
        for epoch in (0, 1)
        for batch in Shuffled().batches(20, batch_size=6, seed=1, epoch=epoch, columns=None)
    ]
    assert found == wanted


@pytest.mark.parametrize("skip", [0, 1, 4, 5, 11])
def test_skipping_is_leaving_out(skip):
    whole = list(itertools.islice(_plan().batches(), 14))
    assert list(itertools.islice(_plan().batches(skip=skip), 14 - skip)) == whole[skip:]


def test_joined_tables_are_numbered_through():
    plan = _plan((10, 7), batch_size=4)
    batches = list(PlannedBatches(plan, count=5))
    wanted = [[row + 10 * table for table, row in batch] for batch in itertools.islice(plan.batches(), 5)]
    assert batches == wanted
    assert len(PlannedBatches(plan, count=5)) == 5


def test_parts_of_all_processes_make_up_the_batch():
    alone = list(itertools.islice(_plan().batches(), 6))
    parts = list(PlannedBatches(_plan(world=2), count=6))
    assert len(parts) == 12
    joined = [one + two for one, two in zip(parts[::2], parts[1::2], strict=True)]
    assert joined == [[row for _, row in batch] for batch in alone]


def test_mixed_batches_are_refused_where_they_cannot_be():
    plan = _plan((10, 10), batch_size=4, mixture=Interleaved(sub_batch=2))
    assert list(PlannedBatches(plan, count=2))
    with pytest.raises(InputError, match="one data set per batch"):
        list(PlannedBatches(plan, count=9, pure=True))


@pytest.mark.parametrize(
    ("given", "role", "kind"),
    [
        ("shuffled", "sampler", "Shuffled"),
        ("no-duplicates", "sampler", "NoDuplicates"),
        ("proportional", "mixture", "Proportional"),
        ("round-robin", "mixture", "RoundRobin"),
    ],
)
def test_names_stand_for_classes(given, role, kind):
    assert type(resolve_order(given, name=role)).__name__ == kind


def test_a_class_with_arguments_is_asked_for():
    with pytest.raises(InputError, match=r"Pass PxK\(\.\.\.\)"):
        resolve_order("px-k", name="sampler")
    with pytest.raises(InputError, match="an instance"):
        resolve_order(Sequential, name="sampler")
    given = NoDuplicates(["text"])
    assert resolve_order(given, name="sampler") is given


def test_samplers_see_the_columns_they_ask_for():
    read = []

    def values(name):
        read.append(name)
        return ["a", "b"] * 6

    columns = LazyColumns(["text", "other"], values)
    plan = BatchPlan(stage(batch_size=2, sampler=NoDuplicates(["text"])), sizes=[12], columns=[columns], seed=0)
    assert all({row % 2 for _, row in batch} == {0, 1} for batch in plan._epoch(0))
    assert read == ["text"]
    assert len(columns) == 2
    with pytest.raises(KeyError):
        columns["absent"]


def test_no_batches_are_refused():
    class Empty:
        def batches(self, n, **settings):
            return iter(())

    with pytest.raises(InputError, match="an order without batches"):
        _plan(sampler=Empty())


def test_tables():
    tables = named_tables({"a": {"x": [1.0, 2.0]}, "b": {"x": np.arange(3.0)}})
    assert [len(table) for table in tables.values()] == [2, 3]
    batch = collate_rows(list(tables.values()), [(0, 1), (1, 2)])
    assert torch.equal(batch["x"], torch.tensor([2.0, 2.0]))
    assert batch["x"].dtype == torch.float32
    assert ArrayTable({"x": torch.zeros(2, dtype=torch.float64)})[0]["x"].dtype == torch.float64
    assert named_tables({"x": np.zeros((2, 3))})[""].take([1])["x"].shape == (1, 3)
    with pytest.raises(InputError, match="the same columns"):
        collate_rows([ArrayTable({"x": [1]}), ArrayTable({"y": [1]})], [(0, 0), (1, 0)])


def test_data_sets_without_length_or_names_are_refused():
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(())

    class Tuples(torch.utils.data.Dataset):
        def __len__(self):
            return 1

        def __getitem__(self, row):
            return (1, 2)

    with pytest.raises(InputError, match="with a length"):
        named_tables(Stream())
    with pytest.raises(InputError, match="rows of type tuple"):
        named_tables(Tuples())
