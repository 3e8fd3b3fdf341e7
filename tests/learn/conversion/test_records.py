"""Records, headings, tables on disk, and what stands around a text."""

from __future__ import annotations

import json
import warnings

import pytest

from orthant.datasets import Document, read_records
from orthant.errors import InputError, NotFoundError, StoreCorruptedError, StoreVersionError
from orthant.learn.conversion.records import pairs_from_headings, pairs_from_records
from orthant.learn.conversion.tables import PairTable, read_tables, write_tables
from orthant.learn.conversion.templates import InContextPrompt, InstructionTemplate, check_fields
from orthant.learn.conversion.texts import normalised_text, text_key, word_form

RECORDS = [
    {"id": 1, "question": "What is gout?", "text": "A form of arthritis.", "source": "x"},
    {"id": 2, "question": "Why?", "text": "Because it is so.", "source": "x"},
    {"id": 3, "question": None, "text": "Nothing."},
    {"id": 4, "question": "Same", "text": "same"},
]


def test_fields_of_mappings_documents_and_batches_become_pairs():
    table = pairs_from_records(RECORDS, anchor="question", positive="text", minimum_words=(2, 2))
    assert table.rows == [{"anchor": "What is gout?", "positive": "A form of arthritis.", "id": "1", "group": "1"}]
    assert table.dropped == {"no question": 1, "no text": 0, "too short": 2, "equal texts": 0}
    documents = [Document("d", "Title", "Body.", {"venue": "acl"})]
    assert pairs_from_records(documents, anchor="title", positive="text", group_field="venue").rows == [
        {"anchor": "Title", "positive": "Body.", "id": "d", "group": "acl"}
    ]
    batches = read_records([{"id": "r", "text": "Body.", "question": "Q?"}], text_fields="text")
    assert pairs_from_records(batches, anchor="question", positive="text").rows[0]["id"] == "r"


def test_hits_of_a_collection_become_pairs(tmp_path):
    import orthant

    with orthant.open(tmp_path / "c.orthant", encoder="static") as books:
        books.upsert(["a"], texts=["A lamp that shines."], metadata=[{"question": "What gives light?"}])
        table = pairs_from_records(books.get(["a"]), anchor="question", positive="text")
    assert table.rows == [{"anchor": "What gives light?", "positive": "A lamp that shines.", "id": "a", "group": "a"}]


def test_headings_outside_code_stand_for_what_is_below_them():
    text = "lead\n\n# A #\n\none two\n\n```\n# no heading here\n```\n\n### B\n\nthree four\n\n## C\n\nfive\n#tag six\n"
    table = pairs_from_headings([Document("d", "", text)], minimum_words=2, with_path=True)
    assert [(r["anchor"], r["positive"]) for r in table] == [
        ("A", "one two\n\n```\n# no heading here\n```"),
        ("A > B", "three four"),
        ("A > C", "five\n#tag six"),
    ]
    assert pairs_from_headings([Document("d", "", "# A\n\none\n")], minimum_words=2).dropped == {"too short": 1}


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: pairs_from_records(RECORDS, anchor="titel", positive="text"), "no record with both 'titel'"),
        (lambda: pairs_from_records(RECORDS, anchor="id", positive="text"), "record 0 with id=1"),
        (lambda: pairs_from_records(RECORDS[:1], anchor="question", positive="text", group_field="g"), "without 'g'"),
        (lambda: pairs_from_records([3], anchor="a", positive="b"), "a record of type int"),
        (
            lambda: pairs_from_records(RECORDS, anchor="question", positive="text", minimum_words=(0, 1)),
            "minimum_words",
        ),
    ],
)
def test_bad_records_are_refused(call, text):
    with pytest.raises(InputError, match=text):
        call()


def test_tables_survive_a_round_trip(tmp_path):
    train = PairTable("src", [{"anchor": "ä\u2028\n", "positive": "b", "score": 0.5}], {"empty": 2})
    manifest = write_tables(tmp_path / "t", {"train": train, "test": PairTable("src", [])})
    back = read_tables(tmp_path / "t")
    assert back == {"train": train, "test": PairTable("src", [])}
    assert manifest["tables"]["train"]["columns"] == ["anchor", "positive", "score"]
    path = tmp_path / "t" / "train.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace("b", "c"), encoding="utf-8")
    with pytest.raises(StoreCorruptedError, match="another hash"):
        read_tables(tmp_path / "t")
    path.unlink()
    with pytest.raises(NotFoundError, match=r"no train\.jsonl"):
        read_tables(tmp_path / "t")
    (tmp_path / "t" / "manifest.json").write_text(json.dumps({**manifest, "format": 99}))
    with pytest.raises(StoreVersionError):
        read_tables(tmp_path / "t")
    (tmp_path / "t" / "manifest.json").write_text("{")
    with pytest.raises(StoreCorruptedError, match="no manifest"):
        read_tables(tmp_path / "t")


def test_bad_tables_are_refused(tmp_path):
    for tables, text in (
        ({}, "no tables"),
        ({"a/b": PairTable("x", [])}, "named 'a/b'"),
        ({"a": PairTable("x", [{"score": float("nan")}])}, "not JSON"),
        ({"a": PairTable("x", [{"score": {1}}])}, "not JSON"),
    ):
        with pytest.raises(InputError, match=text):
            write_tables(tmp_path / "t", tables)
    assert not (tmp_path / "t").exists()
    with pytest.raises(InputError, match="without 'b'"):
        PairTable("x", [{"a": 1}]).select("b")


def test_text_forms():
    assert normalised_text("ﬁne\u00a0 Straße") == "fine strasse"
    assert word_form("C++ & C#") == "c c" and word_form("++") == "++"
    assert text_key("A-b") == text_key("a b") != text_key("ab")


def test_instruction_templates():
    template = InstructionTemplate("Find {braces} & more")
    assert template.format_query("what {x}?") == "Instruct: Find {braces} & more\nQuery: what {x}?"
    assert template.format_document("d") == "d"
    assert template.query_prefix == "Instruct: Find {braces} & more\nQuery: "
    for given, text in (
        ({"task": " "}, "a blank task"),
        ({"task": "t", "query": "{q}: {text}"}, "field {q}"),
        ({"task": "t", "query": "{task}"}, "without {text}"),
        ({"task": "t", "query": "{text!r}"}, "field {text}"),
        ({"task": "t", "document": "{text.x}"}, "field {text.x}"),
        ({"task": "t", "document": "{text"}, "a format string"),
    ):
        with pytest.raises(InputError, match=text.replace("{", "\\{").replace("}", "\\}")):
            InstructionTemplate(**given)
    assert check_fields("plain {{text}}", ["text"]) == ()


def test_examples_are_dropped_whole_and_oldest_first():
    examples = [("one", "1 1"), ("two", "2 2"), ("three", "3 3")]
    template = InstructionTemplate("t", query="Q {text}")
    full = InContextPrompt(template, examples)
    assert full.format("four") == "Q one\n1 1\n\nQ two\n2 2\n\nQ three\n3 3\n\nQ four"
    short = InContextPrompt(template, examples, max_tokens=6)
    with pytest.warns(UserWarning, match="2 of 3 examples"):
        assert short.format("four") == "Q three\n3 3\n\nQ four"
    # The query is never cut, however long.
    with pytest.warns(UserWarning, match="3 of 3"):
        assert short.format("a b c d e f g").endswith("Q a b c d e f g")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "2 2" not in full.format("TWO") and "3 3" not in full.format("x", exclude=["3  3"])
    counted = InContextPrompt(template, examples, max_tokens=18, count_tokens=len)
    with pytest.warns(UserWarning):
        assert counted.format("four") == "Q four"
    for bad in ([("a", "")], ["ab"], [("a",)]):
        with pytest.raises(InputError, match="examples"):
            InContextPrompt(template, bad)
    with pytest.raises(InputError, match="field {label}".replace("{", "\\{")):
        InContextPrompt(template, example="{query} {label}")
