"""Messages have three parts; warnings are given at the line of whoever called, and can be kept back."""

from __future__ import annotations

import threading
import warnings

import numpy as np
import pytest

from orthant import errors
from orthant.errors import message, quiet, warn
from orthant.quantization.inverted import IVFCodec
from orthant.quantization.product import ProductQuantizer
from orthant.transforms.reduction import Reduction


def test_a_message_says_what_was_given_what_was_expected_and_what_to_do():
    assert message("k=0", "k of at least 1.", "pass more.") == "Got k=0; expected k of at least 1. Pass more."


def test_a_warning_names_the_line_outside_the_package_however_deep_it_was_given():
    flat = np.zeros((20, 8), np.float32)
    flat[:, 0] = np.arange(20)
    with pytest.warns(UserWarning, match="span only 1") as seen:
        Reduction(dim=4).fit(flat)
    assert [one.filename for one in seen] == [__file__]


def test_a_quiet_block_keeps_back_the_warnings_of_its_own_thread_alone():
    heard = []

    def other():
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            warn("from another thread")
        heard.extend(found)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with quiet():
            warn("nobody hears this")
    with quiet():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(heard) == 1
    with pytest.warns(RuntimeWarning, match="after it"):
        warn("after it", RuntimeWarning)


def test_codes_that_the_library_chose_are_not_complained_about_and_those_of_the_caller_are():
    # Four distinct rows use four codes of sixteen.
    X = np.repeat(np.random.default_rng(0).standard_normal((4, 16)).astype(np.float32), 10, axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        IVFCodec.train(X, lists=2, metric="l2")
    with pytest.warns(UserWarning, match="Dead codes"):
        IVFCodec.train(X, quantizer=ProductQuantizer(m=4, bits=4), lists=2, metric="l2")


def test_every_public_error_is_of_the_one_tree():
    found = [getattr(errors, name) for name in errors.__all__ if name[0].isupper()]
    assert all(issubclass(one, errors.OrthantError) for one in found)
