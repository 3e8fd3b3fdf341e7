"""What every dense encoder must do. Each check takes a registered case and raises where the case falls short."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from conformance.registry import EncoderCase
from orthant.errors import InputError
from orthant.types import Encoder, EncodeReport

ROLES = ("query", "document")


def same(A: np.ndarray, B: np.ndarray) -> None:
    """W63: cosine of at least 1 - 1e-6 row by row, zero rows equal."""
    assert A.shape == B.shape
    A, B = A.astype(np.float64), B.astype(np.float64)
    lengths = np.linalg.norm(A, axis=1) * np.linalg.norm(B, axis=1)
    zero = lengths == 0
    np.testing.assert_array_equal(A[zero], B[zero])
    assert ((A * B).sum(axis=1)[~zero] / lengths[~zero] >= 1 - 1e-6).all()
    np.testing.assert_allclose(np.linalg.norm(A, axis=1), np.linalg.norm(B, axis=1), rtol=1e-5)


def check_speaks_the_protocol(case):
    encoder = case.make()
    assert isinstance(encoder, Encoder)
    assert isinstance(encoder.dim, int) and encoder.dim >= 1
    assert encoder.max_tokens is None or encoder.max_tokens >= 1


def check_output(case):
    encoder = case.make()
    for role in ROLES:
        out = encoder.encode(list(case.items), role=role)
        assert isinstance(out, np.ndarray) and out.shape == (len(case.items), encoder.dim)
        assert out.dtype == np.float32 and out.flags.c_contiguous and np.isfinite(out).all()
        assert out.any(axis=1).all()
        assert len(np.unique(out.round(4), axis=0)) > 1, "every item got the same vector"


def check_default_role_is_document(case):
    encoder = case.make()
    same(encoder.encode(list(case.items)), encoder.encode(list(case.items), role="document"))


def check_empty(case):
    encoder = case.make()
    out, report = encoder.encode_with_report([])
    assert out.shape == (0, encoder.dim) and out.dtype == np.float32
    assert report.items == report.truncated_items == report.truncated_tokens == report.empty_items == 0


def check_w63_batch_size_and_order(case):
    encoder, items = case.make(), list(case.items)
    wanted = encoder.encode(items)
    for size in (1, 7, 64):
        same(encoder.encode(items, batch_size=size), wanted)
        order = np.random.default_rng(size).permutation(len(items))
        same(encoder.encode([items[i] for i in order], batch_size=size), wanted[order])
    same(encoder.encode(items[:1]), wanted[:1])


def check_lengths_in_a_batch_do_not_mix(case):
    if case.texts:
        encoder = case.make()
        texts = ["a", "one two three four five six seven eight nine ten", "b c", " ".join(["word"] * 60), "d"]
        alone = np.concatenate([encoder.encode([text]) for text in texts])
        same(encoder.encode(texts, batch_size=5), alone)


def check_deterministic(case):
    one, two = case.make(), case.make()
    np.testing.assert_array_equal(one.encode(list(case.items)), two.encode(list(case.items)))
    np.testing.assert_array_equal(one.encode(list(case.items)), one.encode(list(case.items)))


def check_fingerprint(case):
    one, two = case.make(), case.make()
    before = one.fingerprint
    assert isinstance(before, str) and before.strip()
    one.encode(list(case.items))
    assert one.fingerprint == before == two.fingerprint


def check_report(case):
    encoder, items = case.make(), list(case.items)
    for role in ROLES:
        out, report = encoder.encode_with_report(items, role=role)
        assert isinstance(report, EncodeReport)
        np.testing.assert_array_equal(out, encoder.encode(items, role=role))
        assert report.items == len(items) and report.seconds >= 0
        assert 0 <= report.truncated_items <= len(items) and 0 <= report.empty_items <= len(items)
        assert (report.truncated_tokens > 0) == (report.truncated_items > 0)


def check_w62_truncation_is_counted(case):
    encoder = case.make()
    if case.texts and encoder.max_tokens is not None:
        long = " ".join(["word"] * (3 * encoder.max_tokens))
        _, report = encoder.encode_with_report(["short", long])
        assert report.truncated_items == 1 and report.truncated_tokens >= encoder.max_tokens


def check_refuses_what_is_no_text(case):
    if case.texts:
        encoder = case.make()
        for wrong in ([1], ["fine", None], [b"bytes"], "a bare string", ["x", ["y"]]):
            with pytest.raises(InputError):
                encoder.encode(wrong)
            with pytest.raises(InputError):
                encoder.encode_with_report(wrong)


def check_refuses_bad_settings(case):
    encoder, items = case.make(), list(case.items[:2])
    for settings in ({"role": "passage"}, {"batch_size": 0}, {"batch_size": 1.5}):
        with pytest.raises(InputError):
            encoder.encode(items, **settings)


def check_odd_texts(case):
    if case.texts:
        out = case.make().encode(["", " ", "\x00", "日本語", "😀" * 50, "a\nb\tc", "x" * 5000])
        assert out.shape[0] == 7 and np.isfinite(out).all()


def check_does_not_change_the_input(case):
    items = list(case.items)
    case.make().encode(items)
    assert len(items) == len(case.items) and all(a is b for a, b in zip(items, case.items, strict=True))


def check_takes_tuples(case):
    encoder = case.make()
    same(encoder.encode(tuple(case.items[:5])), encoder.encode(list(case.items[:5])))


def check_eight_threads(case):
    encoder, items = case.make(), list(case.items)
    wanted = case.make().encode(items)
    start = threading.Barrier(8)

    def work(number: int) -> None:
        start.wait(60)
        for i in range(3):
            order = np.roll(np.arange(len(items)), 5 * number + i)
            same(encoder.encode([items[j] for j in order], batch_size=16), wanted[order])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))


CHECKS = {name: check for name, check in globals().items() if name.startswith("check_")}
__all__ = ["CHECKS", "EncoderCase"]
