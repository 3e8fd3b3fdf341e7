"""Every registered index through the battery, and broken ones that the battery must reject."""

from __future__ import annotations

import pickle
import time
from pathlib import Path

import numpy as np
import pytest

from conformance.index_battery import CHECKS
from conformance.reference import must_reject
from conformance.registry import INDEXES, IndexCase
from orthant.errors import StoreCorruptedError
from orthant.index import Flat
from orthant.types import Hits


# Lists and codes of twenty rows are as poor as the warnings say; that they conform all the same is what is tested.
@pytest.mark.filterwarnings("ignore:.*codebooks use less than:UserWarning")
@pytest.mark.filterwarnings("ignore:.*unlike those that the lists were trained on:UserWarning")
@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("case", INDEXES.values(), ids=lambda case: case.name)
def test_index_conforms(case, check):
    CHECKS[check](case)


class _Changed(Flat):
    """A flat index whose hits pass through ``change``."""

    def change(self, hits: Hits) -> Hits:
        return hits

    def search(self, Q, k=10, **settings):
        return self.change(super().search(Q, k, **settings))


class TiesByLargerId(_Changed):
    def change(self, hits):
        ids = hits.ids.copy()
        for i, row in enumerate(hits.scores):
            order = np.lexsort((-ids[i], -row))
            ids[i] = ids[i][order]
        return Hits(ids, hits.scores, hits.counts)


class FiltersAfterwards(Flat):
    def search(self, Q, k=10, *, allowed=None, **settings):
        hits = super().search(Q, k, **settings)
        if allowed is None:
            return hits
        good = super().search(Q, max(1, len(self)), allowed=allowed).ids
        ids, scores = np.full_like(hits.ids, -1), np.full_like(hits.scores, -np.inf)
        counts = np.zeros_like(hits.counts)
        for i, row in enumerate(hits.ids):
            keep = np.isin(row, good[i]) & (row >= 0)
            counts[i] = keep.sum()
            ids[i, : counts[i]], scores[i, : counts[i]] = row[keep], hits.scores[i][keep]
        return Hits(ids, scores, counts)


class RaisesForLackOfHits(_Changed):
    def change(self, hits):
        if len(hits) and (hits.counts < hits.ids.shape[1]).any():
            raise RuntimeError("cannot return the results in a contiguous 2D array")
        return hits


class KeepsTheDead(Flat):
    def remove(self, ids):
        return int((super().score_ids(np.ones(self.dim), ids) > -np.inf).sum())


class MissesTheBest(_Changed):
    def change(self, hits):
        return Hits(np.roll(hits.ids, -1, axis=1), np.roll(hits.scores, -1, axis=1), np.maximum(hits.counts - 1, 0))


class SmallerIsCloser(_Changed):
    def change(self, hits):
        return Hits(hits.ids, -hits.scores, hits.counts)


class ReadsBytesAsFloat32(Flat):
    def add(self, X, ids=None):
        X = np.asarray(X)
        if X.dtype == np.float64 and X.ndim == 2 and X.flags.c_contiguous:
            X = X.view(np.float32)[:, : X.shape[1]]
        return super().add(X, ids)


class SwallowsNaN(Flat):
    def add(self, X, ids=None):
        return super().add(np.nan_to_num(np.asarray(X, dtype=np.float64), posinf=1, neginf=1), ids)


class PadsTheDimension(Flat):
    def add(self, X, ids=None):
        X = np.atleast_2d(np.asarray(X))
        if X.ndim == 2 and X.dtype.kind == "f" and X.shape[1] == self.dim - 1:
            X = np.pad(X, ((0, 0), (0, 1)))
        return super().add(X, ids)


class DropsTheRemainder(Flat):
    def search(self, Q, k=10, **settings):
        Q = np.array(Q, dtype=np.float32)
        if self.dim > 8 and Q.ndim == 2 and Q.shape[1] == self.dim:
            Q[:, self.dim // 8 * 8 :] = 0
        return super().search(Q, k, **settings)


class WritesAPickle(Flat):
    def save(self, path):
        super().save(path)
        (Path(path) / "ids.bin").write_bytes(pickle.dumps([1, 2]))


class StoresItsPath(Flat):
    def save(self, path):
        super().save(path)
        (Path(path) / "where.txt").write_text(str(Path(path).absolute()))


class CannotSaveEmpty(Flat):
    def save(self, path):
        if not len(self):
            raise RuntimeError("nothing to save")
        super().save(path)


class RestartsNumbering(Flat):
    def add(self, X, ids=None):
        return super().add(X, np.arange(len(self), len(self) + len(X)) if ids is None else ids)


class SharesItsWorkspace(Flat):
    workspace: object = None

    def search(self, Q, k=10, **settings):
        self.workspace = Q
        time.sleep(0.0005)
        return super().search(self.workspace, k, **settings)


class AddsOneByOne(Flat):
    def add(self, X, ids=None):
        if ids is None or len(X) != len(ids) or not len(X):
            return super().add(X, ids)
        done = []
        for row, name in zip(X, ids, strict=True):
            done.append(super().add(row[None], [name])[0])
            time.sleep(0.0001)
        return np.array(done)


class DependsOnTheClock(_Changed):
    def change(self, hits):
        return Hits(hits.ids, hits.scores + np.float32(1e-3 * (time.perf_counter_ns() % 997)), hits.counts)


class IgnoresDamage(Flat):
    @classmethod
    def load(cls, path, *, mmap=True):
        try:
            return super().load(path, mmap=mmap)
        except StoreCorruptedError:
            return cls(12)


BROKEN = [
    (TiesByLargerId, "check_w16_duplicates_come_in_id_order"),
    (FiltersAfterwards, "check_w01_never_raises_for_lack_of_hits"),
    (FiltersAfterwards, "check_w02_random_histories_agree_with_the_oracle"),
    (RaisesForLackOfHits, "check_w01_never_raises_for_lack_of_hits"),
    (RaisesForLackOfHits, "check_empty_index"),
    (KeepsTheDead, "check_w12_remove"),
    (KeepsTheDead, "check_w02_random_histories_agree_with_the_oracle"),
    (MissesTheBest, "check_one_row"),
    (SmallerIsCloser, "check_w73_every_dimension"),
    (ReadsBytesAsFloat32, "check_w30_converts_every_layout"),
    (SwallowsNaN, "check_w56_refuses_nan"),
    (PadsTheDimension, "check_refuses_wrong_dimension_and_dtype"),
    (DropsTheRemainder, "check_w73_every_dimension"),
    (WritesAPickle, "check_w50_w48_no_pickle_no_absolute_path"),
    (StoresItsPath, "check_w50_w48_no_pickle_no_absolute_path"),
    (CannotSaveEmpty, "check_w28_save_and_load"),
    (RestartsNumbering, "check_automatic_ids_continue"),
    (SharesItsWorkspace, "check_eight_threads_search_alike"),
    (AddsOneByOne, "check_w53_any_mix_of_calls"),
    (DependsOnTheClock, "check_w18_deterministic"),
    (IgnoresDamage, "check_w26_damage_is_named"),
]


@pytest.mark.parametrize(("broken", "check"), BROKEN, ids=lambda value: getattr(value, "__name__", value))
def test_the_battery_rejects(broken, check):
    must_reject(CHECKS[check], IndexCase("broken", broken))
