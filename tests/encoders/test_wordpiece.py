"""The fast tokenizer gives exactly what the tokenizers package gives."""

from __future__ import annotations

import json
import sys
import sysconfig
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import orthant.encoders.static as static
from orthant.encoders.wordpiece import WordPieceTokenizer
from orthant.errors import StoreCorruptedError

SOURCE = (Path(static.__file__).with_name("static_minilm") / "tokenizer.json").read_text(encoding="utf-8")

NASTY = [
    "",
    " ",
    "Hello, World!",
    "don't stop-believing (3.5%) <tag> a_b.c/d\\e",
    "tabs\tand\nnew\r\nlines\x0bvertical\x0cfeed\x00null\x7fdelete",
    "caf\u00e9 na\u00efve \u0130stanbul stra\u00dfe \u0141\u00f3d\u017a \u0149 \u017f",
    "\u201ccurly\u201d \u2018quotes\u2019 \u2013 dash \u2014 em \u2026",
    "\u4e2d\u6587\u5b57\u7b26 mixed \u65e5\u672c\u8a9e text \u0440\u0443\u0441\u0441\u043a\u0438\u0439",
    "\U0001f600 emoji \ufe0f zero\u200bwidth nbsp\u00a0space \ufffd",
    "x" * 100,
    "y" * 101,
    "e\u0301 combining",
    "[CLS] [SEP] [UNK] [MASK] [PAD]",
    "\u00d7 \u00f7 5\u00d75",
    "electroencephalographically supercalifragilisticexpialidocious",
]


@pytest.fixture(scope="module")
def package_tokenizer():
    tokenizers = pytest.importorskip("tokenizers")
    return tokenizers.Tokenizer.from_str(SOURCE)


def check(texts, package, fast=None):
    fast = fast or WordPieceTokenizer(SOURCE)
    ids, offsets = fast.token_ids(texts)
    assert ids.dtype == np.int32 and offsets.dtype == np.int64 and len(offsets) == len(texts) + 1
    for place, encoding in enumerate(package.encode_batch(texts, add_special_tokens=False)):
        assert ids[offsets[place] : offsets[place + 1]].tolist() == encoding.ids, repr(texts[place])


def test_nasty_texts_together_and_alone(package_tokenizer):
    check(NASTY, package_tokenizer)
    for text in NASTY:
        check([text], package_tokenizer)
    check([], package_tokenizer)


def test_real_source_lines(package_tokenizer):
    folder = Path(sysconfig.get_paths()["stdlib"])
    lines = [
        line
        for name in ("argparse.py", "statistics.py", "turtle.py")
        for line in (folder / name).read_text(encoding="utf-8").splitlines()
    ]
    check(lines, package_tokenizer)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(), max_size=5))
def test_any_text(texts):
    tokenizers = pytest.importorskip("tokenizers")
    check(texts, _shared_package(tokenizers), _SHARED)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(st.characters(max_codepoint=0x17F)), max_size=5))
def test_any_latin_text(texts):
    tokenizers = pytest.importorskip("tokenizers")
    check(texts, _shared_package(tokenizers), _SHARED)


_SHARED = WordPieceTokenizer(SOURCE)
_PACKAGE: list = []


def _shared_package(tokenizers):
    if not _PACKAGE:
        _PACKAGE.append(tokenizers.Tokenizer.from_str(SOURCE))
    return _PACKAGE[0]


def test_everyday_text_never_loads_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    fast = WordPieceTokenizer(SOURCE)
    ids, _ = fast.token_ids(["A plain \u2018line\u2019 with caf\u00e9.", "another"])
    assert len(ids) > 5


def test_added_tokens_in_text_take_the_package(package_tokenizer):
    tokenizers = pytest.importorskip("tokenizers")
    record = json.loads(SOURCE)
    record["added_tokens"] = [
        {"id": 0, "content": "[UNK]", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
         "special": True}
    ]  # fmt: skip
    source = json.dumps(record)
    check(["a [UNK] b", "[unk]", "plain"], tokenizers.Tokenizer.from_str(source), WordPieceTokenizer(source))


def test_lexicon_starts_afresh_when_full(monkeypatch, package_tokenizer):
    import orthant.encoders.wordpiece as module

    monkeypatch.setattr(module, "_LEXICON_WORDS", 10)
    fast = WordPieceTokenizer(SOURCE)
    for start in range(0, 60, 6):
        check([f"word{i} thing{i} stuff" for i in range(start, start + 6)], package_tokenizer, fast)


def test_threads_share_one_tokenizer(package_tokenizer):
    fast = WordPieceTokenizer(SOURCE)
    texts = [f"number{i} of{i % 7} things {i * i}" for i in range(3_000)]
    failures = []

    def work(shift):
        try:
            check(texts[shift:] + texts[:shift], package_tokenizer, fast)
        except AssertionError as error:
            failures.append(error)

    threads = [Thread(target=work, args=(shift,)) for shift in (0, 700, 1_500, 2_200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_another_kind_of_tokenizer_works():
    tokenizers = pytest.importorskip("tokenizers")
    model = tokenizers.models.WordLevel({"<unk>": 0, "Hello": 1, "there": 2}, unk_token="<unk>")
    package = tokenizers.Tokenizer(model)
    package.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    fast = WordPieceTokenizer(package.to_str())
    assert not fast.fast and fast.unknown == 0
    check(["Hello there", "hello you", ""], package, fast)


@pytest.mark.parametrize("source", ["", "{}", "[]", '{"model": {"type": "WordPiece"}}', "null"])
def test_not_a_tokenizer(source):
    with pytest.raises(StoreCorruptedError, match="tokenizer"):
        WordPieceTokenizer(source)
