"""What a word is, and how a query is read."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orthant.collection.lexical.analysis import SEPARATOR, STOP_WORDS, Analyzer, Clause, parse_query, stem_english
from orthant.errors import InputError

PLAIN = Analyzer(stem=None, stopwords=None)


def W(word, mode="may", n=1):
    return Clause("word", (word,), mode, n)


def PRE(word, mode="may"):
    return Clause("prefix", (word,), mode)


def P(text, mode="must", n=1):
    return Clause("phrase", tuple(text.split()), mode, n)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        (" \t\n.,;!? ", []),
        ("Hello, World", ["hello", "world"]),
        ("read_csv(path='a.csv')", ["read", "csv", "path", "a", "csv"]),
        ("GPT-4o 3.14", ["gpt", "4o", "3", "14"]),
        ("a\x00b", ["a", "b"]),
        ("Ça été naïve", ["ça", "été", "naïve"]),
        ("cafe\u0301", ["café"]),
        ("ﬁne ２０２６", ["fine", "2026"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("東京都", ["東京", "京都"]),
        ("AI研究です。猫", ["ai", "研究", "究で", "です", "猫"]),
        ("❤️ love", ["love"]),
        ("x\ud800y", ["x", "y"]),
    ],
)
def test_words(text, words):
    assert PLAIN.words(text) == words


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.text(max_size=20), st.text(alphabet="ab \x00_-Z", max_size=12)), max_size=8))
def test_batch_equals_one_by_one(texts):
    out: list[str] = []
    for text in texts:
        out += [*PLAIN.words(text), SEPARATOR]
    assert PLAIN.split_batch(texts) == out


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.text(max_size=30))
def test_words_hold_no_blank_or_separator(text):
    for word in PLAIN.words(text):
        assert word
        assert not set(word) & {SEPARATOR, "\n", " ", "*", '"'}


@pytest.mark.parametrize(
    "forms",
    [
        ("city", "cities"),
        ("study", "studies", "studied"),
        ("stop", "stops", "stopped", "stopping"),
        ("make", "makes", "making"),
        ("quick", "quickly"),
        ("class", "classes"),
    ],
)
def test_forms_share_a_stem(forms):
    assert len({stem_english(w) for w in forms}) == 1


@pytest.mark.parametrize("word", ["bus", "gas", "king", "red", "need", "naïves", "ly", "string", "bring"])
def test_words_that_stay(word):
    assert stem_english(word) == word


def test_stop_words_are_few():
    assert len(STOP_WORDS["en"]) == 33
    assert Analyzer().is_stop_word("the")
    assert not Analyzer(stopwords=None).is_stop_word("the")


def test_fingerprints_differ_by_rule():
    made = {Analyzer(stem=s, stopwords=w).fingerprint for s in ("en", None) for w in ("en", None)}
    assert len(made) == 4


@pytest.mark.parametrize("settings_", [{"stem": "xx"}, {"stopwords": "de"}, {"stem": 3}])
def test_unknown_settings_are_refused(settings_):
    with pytest.raises(InputError):
        Analyzer(**settings_)


@pytest.mark.parametrize(
    ("query", "clauses"),
    [
        ("", []),
        ("red fox", [W("red"), W("fox")]),
        ("fox red fox", [W("fox", n=2), W("red")]),
        ('"red fox"', [P("red fox")]),
        ("“red fox”", [P("red fox")]),
        ('+"red fox" x', [P("red fox"), W("x")]),
        ('-"red fox" x', [P("red fox", "not"), W("x")]),
        ("+red -fox", [W("red", "must"), W("fox", "not")]),
        ("-fox", [W("fox", "not")]),
        ("mic* +mac* -moc*", [PRE("mic"), PRE("mac", "must"), PRE("moc", "not")]),
        ("x-ray well-known", [W("x"), W("ray"), W("well"), W("known")]),
        ("+read_csv", [P("read csv")]),
        ("-read_csv x", [P("read csv", "not"), W("x")]),
        ('red "fox', [W("red"), W("fox")]),
        ('"', []),
        ('""', []),
        ('"..."', []),
        ('5" x 7"', [W("5"), W("x"), W("7")]),
        ("+ - * **", []),
        ("a*b ab**", [W("a"), W("b"), W("ab")]),
        ("read_cs*", [W("read"), W("cs")]),
        ("東京", [W("東京")]),
        ("猫", [Clause("character", ("猫",))]),
        ('"猫"', [Clause("character", ("猫",), "must")]),
    ],
)
def test_query_syntax(query, clauses):
    assert parse_query(query, PLAIN) == clauses


@pytest.mark.parametrize(
    ("query", "clauses"),
    [
        ("the red foxes", [W("red"), W("fox")]),
        ("to be", [P("to", "may"), P("be", "may")]),
        ("+the foxes", [P("the"), W("fox")]),
        ('to "the foxes"', [P("the foxes")]),
        ("the -fox", [P("the", "may"), W("fox", "not")]),
    ],
)
def test_stop_words_count_only_when_nothing_else_does(query, clauses):
    assert parse_query(query, Analyzer()) == clauses


def test_plain_syntax_reads_no_operators():
    assert parse_query('+a -b "c d" e*', PLAIN, syntax="plain") == [W(w) for w in "abcde"]
    with pytest.raises(InputError):
        parse_query("a", PLAIN, syntax="other")


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.one_of(st.text(max_size=30), st.text(alphabet='ab "+-*(“”_猫', max_size=20)))
def test_no_query_is_an_error(query):
    for clause in parse_query(query, Analyzer()):
        assert clause.words
