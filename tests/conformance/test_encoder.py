"""Every registered encoder through the battery, and broken ones that the battery must reject."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest

from conformance.encoder_battery import CHECKS
from conformance.reference import HashingEncoder, must_reject
from conformance.registry import ENCODERS, EncoderCase
from orthant.types import EncodeReport


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("case", ENCODERS.values(), ids=lambda case: case.name)
def test_encoder_conforms(case, check):
    CHECKS[check](case)


class _Changed(HashingEncoder):
    def change(self, out: np.ndarray, items: list) -> np.ndarray:
        return out

    def encode_with_report(self, items, **settings):
        out, report = super().encode_with_report(items, **settings)
        return self.change(out, list(items)), report


class LeaksPadding(HashingEncoder):
    def _batch(self, texts):
        return super()._batch(texts) + np.float32(0.01 * max(len(text) for text in texts) / 100)


class SortsByLength(_Changed):
    def change(self, out, items):
        return out[np.argsort([len(text) for text in items], kind="stable")]


class GivesFloat64(_Changed):
    def change(self, out, items):
        return out.astype(np.float64)


class GivesFortranOrder(_Changed):
    def change(self, out, items):
        return np.asfortranarray(out)


class FailsOnEmpty(_Changed):
    def change(self, out, items):
        return out if items else np.zeros(0, dtype=np.float32)


class EncodesAnything(HashingEncoder):
    def encode_with_report(self, items, **settings):
        return super().encode_with_report([str(item) for item in items], **settings)


class NewFingerprintEachTime(HashingEncoder):
    count = itertools.count()

    def __init__(self):
        super().__init__()
        self.fingerprint += str(next(self.count))


class CutsSilently(HashingEncoder):
    def encode_with_report(self, items, **settings):
        out, report = super().encode_with_report(items, **settings)
        return out, EncodeReport(items=report.items, seconds=report.seconds)


class MiscountsItems(HashingEncoder):
    def encode_with_report(self, items, **settings):
        return super().encode_with_report(items, **settings)[0], EncodeReport(items=1)


class Random(_Changed):
    def change(self, out, items):
        return out + np.random.default_rng().random(out.shape, dtype=np.float32) / 10


class ConstantVector(_Changed):
    def change(self, out, items):
        return np.ones_like(out)


class AnyRole(HashingEncoder):
    def encode(self, items, *, role="document", batch_size=64, progress=False):
        return super().encode(items, batch_size=batch_size)


class SharesAWorkspace(HashingEncoder):
    work: object = None

    def encode(self, items, **settings):
        self.work = items
        time.sleep(0.001)
        return super().encode(self.work, **settings)


BROKEN = [
    (LeaksPadding, "check_w63_batch_size_and_order"),
    (LeaksPadding, "check_lengths_in_a_batch_do_not_mix"),
    (SortsByLength, "check_w63_batch_size_and_order"),
    (GivesFloat64, "check_output"),
    (GivesFortranOrder, "check_output"),
    (FailsOnEmpty, "check_empty"),
    (EncodesAnything, "check_refuses_what_is_no_text"),
    (NewFingerprintEachTime, "check_fingerprint"),
    (CutsSilently, "check_w62_truncation_is_counted"),
    (MiscountsItems, "check_report"),
    (Random, "check_deterministic"),
    (ConstantVector, "check_output"),
    (AnyRole, "check_refuses_bad_settings"),
    (SharesAWorkspace, "check_eight_threads"),
]


@pytest.mark.parametrize(("broken", "check"), BROKEN, ids=lambda value: getattr(value, "__name__", value))
def test_the_battery_rejects(broken, check):
    must_reject(CHECKS[check], EncoderCase("broken", broken))
