"""The chunker: nothing lost, nothing too large, every chunk knows its place."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from orthant.datasets.documents import Chunking, DocumentText, Mark, chunk_document, read_document
from orthant.datasets.documents.units import sentences
from orthant.errors import InputError

MARKDOWN = (
    "# Kites\n\n## Parts\n\nA kite has a line. It has a tail! Has it a sail?\n\n"
    "### Tail\n\nLong.\n\n## Wind\n\nStrong.\n"
)


def _document(seed, count=400):
    rng = np.random.default_rng(seed)
    known = ["kite", "wind.", "Sea", "a", "風", "x" * 90, "end!\n\n", "- item", "\n", "Dr."]
    words = [str(rng.choice(known)) for _ in range(count)]
    text = " ".join(words)
    places = sorted({int(place) for place in rng.integers(0, len(text), 6)})
    marks = tuple(Mark(place, int(rng.integers(1, 4)), f"h{place}") for place in places)
    kind = ("text", "markdown", "python", "code")[seed % 4]
    return DocumentText(text, kind, marks=marks)


@pytest.mark.parametrize("by", ["headings", "sentences", "tokens", "whole"])
@pytest.mark.parametrize("seed", range(8))
def test_chunks_joined_are_the_document(by, seed):
    document = _document(seed)
    chunking = Chunking(by) if by == "whole" else Chunking(by, size=7 + seed)
    chunks = chunk_document(document, chunking)
    assert "".join(chunk.text for chunk in chunks).split() == document.text.split()
    assert [chunk.number for chunk in chunks] == list(range(len(chunks)))
    assert all(document.text[chunk.start : chunk.end] == chunk.text and chunk.text.strip() for chunk in chunks)
    assert by == "whole" or max(chunk.size for chunk in chunks) <= 7 + seed


@pytest.mark.parametrize("by", ["headings", "sentences", "tokens"])
@pytest.mark.parametrize("overlap", [1, 5, 9])
def test_overlap_repeats_and_moves_on(by, overlap):
    document = DocumentText("One two three. " * 40)
    chunks = chunk_document(document, Chunking(by, size=10, overlap=overlap))
    assert chunks[-1].end == len(document.text)
    shared = 0
    for before, after in itertools.pairwise(chunks):
        assert before.start < after.start <= before.end < after.end
        repeated = document.text[after.start : before.end].split()
        assert len(repeated) <= overlap
        shared += len(repeated)
    # A sentence of three words is repeated whole or not at all.
    assert (shared > 0) == (by == "tokens" or overlap >= 3)


def test_headings_bound_chunks_and_give_their_path():
    chunks = chunk_document(read_document(MARKDOWN.encode(), "markdown"))
    # A heading with nothing under it stays with what follows.
    assert [(chunk.heading, chunk.text.split("\n")[0]) for chunk in chunks] == [
        ("Kites > Parts", "# Kites"),
        ("Kites > Parts > Tail", "### Tail"),
        ("Kites > Wind", "## Wind"),
    ]
    whole = chunk_document(read_document(MARKDOWN.encode(), "markdown"), Chunking("sentences"))
    assert [chunk.heading for chunk in whole] == ["Kites > Parts"]


def test_classes_are_kept_whole_where_they_fit():
    code = (
        "import os\n\n\nclass A:\n    def f(self):\n        return 1\n\n    def g(self):\n        return 2\n\n\n"
        "def h():\n    pass\n"
    )
    document = read_document(code.encode(), "python")
    assert [chunk.heading for chunk in chunk_document(document)] == ["", "class A", "def h"]
    small = [chunk.heading for chunk in chunk_document(document, Chunking(size=6))]
    assert small == ["", "class A", "class A > def f", "class A > def g", "def h"]


def test_programs_divide_at_blank_lines_then_lines():
    block = "int f(void) {\n" + "  a = b;\n" * 4 + "\n  c = d;\n}\n"
    document = read_document((block + "\n" + block).encode(), "code")
    chunks = chunk_document(document, Chunking(size=25))
    assert len(chunks) == 2 and all(chunk.text.startswith("int f") for chunk in chunks)
    assert all(chunk.text.endswith("\n") for chunk in chunk_document(document, Chunking(size=8))[:-1])


def test_sentences():
    text = "Dr. Gull met J. Hook at 3.5 km. They flew! “Why?” It was e.g. windy... and so on.\n\nNew. 風が強い。凧。"
    parts = [text[a:b].strip() for a, b in sentences(text, 0, len(text))]
    assert parts == [
        "Dr. Gull met J. Hook at 3.5 km.",
        "They flew!",
        "“Why?”",
        "It was e.g. windy...",
        "and so on.",
        "New.",
        "風が強い。",
        "凧。",
    ]


# Going back to the start of the line for each chunk would take many minutes.
@pytest.mark.timeout(60)
def test_endless_lines_are_bounded():
    chunks = chunk_document(DocumentText("x" * 1_000_000))
    assert max(len(chunk.text) for chunk in chunks) == 200 * 40


def test_tokens_are_those_that_are_counted():
    document = DocumentText("aa bbbb c dddddd " * 20)
    chunks = chunk_document(document, Chunking("tokens", size=14), count=lambda words: [len(word) for word in words])
    assert all(chunk.size <= 14 and chunk.size == sum(map(len, chunk.text.split())) for chunk in chunks)
    assert chunk_document(document, Chunking("whole"), limit=10)[0].size == 10


def test_pages_are_told():
    document = DocumentText("One page.\n\nTwo page.", "pdf", pages=(0, 11))
    chunks = chunk_document(document, Chunking("sentences", size=2))
    assert [chunk.page for chunk in chunks] == [1, 2]


def test_blank_documents_have_no_chunks():
    assert chunk_document(DocumentText("")) == [] and chunk_document(DocumentText(" \n ")) == []


@pytest.mark.parametrize(
    "make",
    [
        lambda: Chunking("pages"),
        lambda: Chunking(size=0),
        lambda: Chunking(size=10, overlap=10),
        lambda: Chunking("whole", size=10),
        lambda: Chunking.parse("tokens:ten"),
        lambda: Chunking.parse("tokens:10:1:1"),
    ],
)
def test_settings_out_of_range_are_refused(make):
    with pytest.raises(InputError):
        make()
