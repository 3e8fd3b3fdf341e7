"""Other weights under the same name are noticed at opening and while running; what they made is forgotten."""

from __future__ import annotations

import numpy as np
import pytest

from encoders.api.stand_in import DIM, vector
from orthant.encoders import ApiEncoder
from orthant.encoders.api.canaries import CANARIES
from orthant.errors import EncoderMismatchError


def _make(server, folder=None, **options):
    given = {"canary_every": 3, "parallel": 1, **options}
    return ApiEncoder("openai", "tiny", url=server.url, cache=folder, **given)


def test_w36_changed_weights_are_noticed_at_opening(server, tmp_path):
    first = _make(server, tmp_path)
    assert server.asked() == [list(CANARIES)] and first.dim == DIM
    first.encode(["a"])
    _make(server, tmp_path)
    assert server.asked()[-1] == list(CANARIES), "canaries are never answered by the cache"
    server.weights = "second"
    cosine = min(vector(t, model="first") @ vector(t, model="second") for t in CANARIES)
    with pytest.raises(EncoderMismatchError, match=rf"openai:tiny for canary \d .*cosine {cosine:.4f}.*revision"):
        _make(server, tmp_path)
    # The way out that the text names.
    renewed = _make(server, tmp_path, revision="2")
    np.testing.assert_array_equal(renewed.encode(["a"])[0], vector("a", model="second"))
    assert renewed.fingerprint != first.fingerprint


def test_w36_another_dimension_is_noticed_at_opening(server, tmp_path):
    _make(server, tmp_path)
    server.dim = DIM + 1
    with pytest.raises(EncoderMismatchError, match=r"dimension 9 .*expected 8"):
        _make(server, tmp_path)


def test_w36_changed_weights_are_noticed_while_running_and_forgotten(server, tmp_path):
    encoder = _make(server, tmp_path)
    encoder.encode(["old 1"])
    encoder.encode(["old 2"])
    encoder.encode(["old 3"])
    assert server.asked().count(list(CANARIES)) == 1
    encoder.encode(["old 4"])  # canaries go first, and agree
    assert server.asked().count(list(CANARIES)) == 2
    server.weights = "second"
    encoder.encode(["new 1"])
    encoder.encode(["new 2"])
    before = len(server.requests)
    for _ in range(2):
        with pytest.raises(EncoderMismatchError, match="canary"):
            encoder.encode(["new 3"])
    assert server.asked()[before:] == [list(CANARIES)] * 2, "nothing else is asked for any more"
    # What was answered since the canaries last agreed is gone from the cache, what came before is not.
    assert encoder.encode_with_report(["old 1", "old 2", "old 3"])[1].cache_hits == 3
    server.weights = "first"
    again = _make(server, tmp_path)
    out, report = again.encode_with_report(["new 1", "new 2", "old 1"])
    assert report.cache_hits == 1
    np.testing.assert_array_equal(out[0], vector("new 1", model="first"))


def test_jitter_within_the_tolerance_passes(server, tmp_path):
    _make(server, tmp_path)
    shake = [lambda rows: [[x + 0.003 * (-1) ** i for i, x in enumerate(row)] for row in rows]]
    server.plan = shake * 1
    _make(server, tmp_path)
    server.plan = shake * 1
    with pytest.raises(EncoderMismatchError):
        _make(server, tmp_path, canary_tolerance=1e-7)


def test_without_canaries_only_an_unknown_dimension_is_asked_for(server):
    assert _make(server, canary_every=None).dim == DIM
    assert server.asked() == [[CANARIES[0]]]
    _make(server, canary_every=None, dimensions=4)
    assert len(server.requests) == 1


def test_prompts_do_not_share_canaries(server, tmp_path):
    _make(server, tmp_path)
    _make(server, tmp_path, document_prompt="passage: ")
    assert server.asked()[-1] == [f"passage: {text}" for text in CANARIES]
    _make(server, tmp_path, document_prompt="passage: ")


def test_one_text_per_request_works_for_canaries_too(server):
    assert _make(server, max_batch=1).dim == DIM
    assert len(server.requests) == len(CANARIES)
