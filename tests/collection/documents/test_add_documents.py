"""Folders of documents in a collection: what is written, what is left alone, what goes, what is refused."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

import orthant
from collection.fakes import FakeEncoder
from orthant.datasets.documents import Chunking
from orthant.errors import InputError, MissingExtraError, NotFoundError, StoreError, StoreReadOnlyError

LONG = "# Kites\n\n" + "A red kite rises over the beach. " * 29 + "It does.\n\n## Line\n\nThe line is long and thin.\n"


@pytest.fixture
def docs(tmp_path):
    """Three documents and a picture."""
    folder = tmp_path / "docs"
    (folder / "sub").mkdir(parents=True)
    (folder / "kites.md").write_text(LONG, encoding="utf-8")
    (folder / "sub" / "boats.html").write_text("<h1>Boats</h1><p>The blue boat sails.", encoding="utf-8")
    (folder / "old.txt").write_bytes("Un café fermé".encode("cp1252"))
    (folder / "photo.png").write_bytes(b"\0" * 10)
    return folder


@pytest.fixture
def notes(tmp_path):
    """A new collection searched by words."""
    with orthant.open(tmp_path / "notes") as opened:
        yield opened


def _generation(collection):
    return collection._store.refreshed().number


def test_every_chunk_knows_its_place(notes, docs):
    report = notes.add_documents(docs, chunk=Chunking(size=50))
    assert (report.added, report.updated, report.unchanged, report.skipped) == (3, 0, 0, [])
    assert report.ignored == {".png": 1} and report.encodings == {"utf-8": 2, "cp1252": 1}
    assert report.guessed == ["old.txt"]
    kites = notes.find({"parent": "kites.md"})
    assert [record.id for record in kites] == [f"kites.md#{i}" for i in range(len(kites))] and len(kites) == 6
    last = kites[-1].metadata
    assert last["heading"] == "Kites > Line" and last["title"] == "Kites" and last["chunk"] == 5
    assert (last["source"], last["folder"], last["kind"], last["chunks"]) == ("kites.md", "docs", "markdown", 6)
    assert last["modified"].endswith("Z") and len(last["hash"]) == 32
    assert all(LONG[row.metadata["start"] : row.metadata["end"]] == row.text for row in kites)
    assert notes.search("boat", k=1)[0].metadata["parent"] == "sub/boats.html"


def test_adding_again_writes_only_what_changed(notes, docs):
    first = notes.add_documents(docs, chunk="headings:50")
    before = _generation(notes)
    os.utime(docs / "old.txt", (1, 1))
    again = notes.add_documents(docs, chunk="headings:50")
    assert (again.unchanged, again.chunks_written, again.generation) == (3, 0, first.generation)
    assert _generation(notes) == before
    (docs / "kites.md").write_text("# Kites\n\nGrounded.\n", encoding="utf-8")
    changed = notes.add_documents(docs, chunk="headings:50")
    assert (changed.updated, changed.unchanged) == (1, 2)
    # The old chunks go in the commit that brings the new one.
    assert (changed.chunks_written, changed.chunks_removed) == (1, 6) and _generation(notes) == before + 1
    assert [record.id for record in notes.find({"parent": "kites.md"})] == ["kites.md#0"]
    # Divided in another way, every document is another.
    assert notes.add_documents(docs, chunk="tokens:3").updated == 3


def test_files_that_are_gone_stay_until_they_are_pruned(notes, docs):
    notes.add_documents(docs)
    notes.upsert(["mine"], texts=["not of a document"], metadata=[{"folder": "docs"}])
    (docs / "old.txt").unlink()
    (docs / "sub" / "boats.html").unlink()
    told = notes.add_documents(docs)
    assert told.gone == ["old.txt", "sub/boats.html"] and told.removed == 0 and "old.txt#0" in notes
    below = notes.add_documents(docs / "sub", root=docs, prune=True)
    assert below.removed == 1 and "old.txt#0" in notes and "sub/boats.html#0" not in notes
    pruned = notes.add_documents(docs, prune=True)
    assert (pruned.removed, pruned.gone) == (1, []) and "old.txt#0" not in notes
    assert "mine" in notes and "kites.md#0" in notes
    with pytest.raises(InputError, match="at least one folder"):
        notes.add_documents(docs / "kites.md", prune=True)


def test_a_document_that_became_blank_loses_its_chunks(notes, docs):
    notes.add_documents(docs)
    (docs / "old.txt").write_text(" \n")
    report = notes.add_documents(docs)
    assert report.blank == ["old.txt"] and report.chunks_removed == 1 and "old.txt#0" not in notes
    assert report.gone == []


def test_chunks_deleted_by_hand_come_back(notes, docs):
    notes.add_documents(docs, chunk="headings:50")
    notes.delete(["kites.md#2"])
    assert notes.add_documents(docs, chunk="headings:50").updated == 1
    assert "kites.md#2" in notes


def test_what_cannot_be_read_is_refused_before_anything_is_written(notes, docs):
    (docs / "z.txt").write_bytes(b"\0\1\2" * 100)
    before = _generation(notes)
    with pytest.raises(InputError, match=r"^z\.txt: Got bytes that are no text.*on_error='skip'"):
        notes.add_documents(docs, batch_size=1)
    assert len(notes) == 0 and _generation(notes) == before


def test_what_cannot_be_read_is_skipped_by_choice_and_what_is_held_stays(notes, docs, monkeypatch):
    (docs / "z.txt").write_text("fine")
    notes.add_documents(docs)
    (docs / "z.txt").write_bytes(b"\0\1\2" * 100)
    (docs / "paper.pdf").write_bytes(b"%PDF")
    monkeypatch.setitem(sys.modules, "pypdf", None)
    report = notes.add_documents(docs, on_error="skip", prune=True)
    assert [one.source for one in report.skipped] == ["paper.pdf", "z.txt"]
    assert "orthant[pdf]" in report.skipped[0].reason and notes.get("z.txt#0").text == "fine"
    with pytest.raises(MissingExtraError, match=r"^paper\.pdf: "):
        notes.add_documents(docs)


@pytest.fixture
def closed(docs, monkeypatch):
    """A folder that cannot be looked into, and one whose files cannot be asked; permissions do not bind every user."""
    scan, ask = os.scandir, Path.is_file

    def refuse_scan(path):
        if os.fspath(path).endswith("sub"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scan(path)

    def refuse_ask(path):
        if path.name == "old.txt":
            raise PermissionError(13, "Permission denied", str(path))
        return ask(path)

    def close():
        monkeypatch.setattr(os, "scandir", refuse_scan)
        monkeypatch.setattr(Path, "is_file", refuse_ask)

    return close


def test_what_cannot_be_looked_into_is_not_gone(notes, docs, closed):
    notes.add_documents(docs)
    closed()
    with pytest.raises(InputError, match=r"^sub/: Got .*cannot be looked into \(Permission denied\)"):
        notes.add_documents(docs, prune=True)
    report = notes.add_documents(docs, prune=True, on_error="skip")
    assert (report.removed, report.unchanged) == (0, 2)
    assert [one.source for one in report.skipped] == ["sub/"]
    assert "sub/boats.html#0" in notes


def test_times_beyond_the_calendar_and_long_titles(notes, docs, monkeypatch):
    (docs / "page.html").write_text(f"<title>{'long ' * 1000}</title><p>A page.")
    stat = Path.stat

    def odd(path, **settings):
        told = list(stat(path, **settings))
        told[8] = 10**13
        return os.stat_result(told) if path.name in ("page.html", "kites.md") else stat(path, **settings)

    monkeypatch.setattr(Path, "stat", odd)
    assert notes.add_documents(docs).added == 4
    page = notes.get("page.html#0").metadata
    assert "modified" not in page and len(page["title"]) == 500
    assert "modified" in notes.get("old.txt#0").metadata


def test_paths_that_name_nothing_are_refused(notes, docs):
    (docs / "loop.txt").symlink_to("loop.txt")
    for paths, kind in (("", InputError), (None, InputError), ([b"x"], InputError), ("a\0b", InputError)):
        with pytest.raises(kind, match="path"):
            notes.add_documents(paths)
    with pytest.raises(NotFoundError):
        notes.add_documents(docs / "loop.txt")
    assert len(notes) == 0


def test_too_much_to_keep_is_read_twice_with_the_same_outcome(notes, docs, monkeypatch):
    monkeypatch.setattr("orthant.collection.documents.ingestion._KEPT_CHARACTERS", 10)
    report = notes.add_documents(docs, batch_size=1)
    assert (report.added, len(notes)) == (3, report.chunks_written)


def test_mail_in_a_box_comes_and_goes_message_by_message(notes, tmp_path):
    folder = tmp_path / "mail"
    folder.mkdir()
    parts = [f"From a@x Mon Mar  2 10:00:00 2020\nMessage-ID: <{i}@x>\nSubject: S{i}\n\nBody {i}\n\n" for i in range(3)]
    (folder / "in.mbox").write_text("".join(parts))
    assert notes.add_documents(folder).added == 3
    (folder / "in.mbox").write_text("".join(parts[1:]))
    report = notes.add_documents(folder, prune=True)
    assert (report.unchanged, report.removed) == (2, 1)
    assert (
        list(notes.ids()) == ["in.mbox/1@x#0", "in.mbox/2@x#0"] and notes.get("in.mbox/1@x#0").metadata["title"] == "S1"
    )
    # A box that cannot be read is not an empty one.
    (folder / "in.mbox").write_text("damaged")
    assert notes.add_documents(folder, on_error="skip", prune=True).removed == 0 and len(notes) == 2


def test_another_folder_never_replaces_documents_silently(notes, docs, tmp_path):
    notes.add_documents(docs)
    other = tmp_path / "other"
    other.mkdir()
    (other / "kites.md").write_text("Elsewhere.")
    with pytest.raises(InputError, match="Pass prefix="):
        notes.add_documents(other)
    assert notes.add_documents(other, prefix="other/", prune=True).added == 1
    assert notes.get("other/kites.md#0").text == "Elsewhere." and "kites.md#0" in notes
    # Pruning one folder leaves the other alone.
    assert notes.add_documents(docs, prune=True).removed == 0


def test_a_collection_inside_its_folder_is_no_document(tmp_path):
    (tmp_path / "a.txt").write_text("words")
    with orthant.open(tmp_path / "index") as opened:
        (tmp_path / "index" / "notes.txt").write_text("not a document")
        assert opened.add_documents(tmp_path).added == 1


def test_an_encoder_that_comes_later_encodes_what_is_held(tmp_path, docs):
    with orthant.open(tmp_path / "c") as opened:
        opened.add_documents(docs)
    with orthant.open(tmp_path / "c", encoder="static") as opened:
        report = opened.add_documents(docs)
        assert report.updated == 3 and report.vectors["default"] == report.chunks_written
    with orthant.open(tmp_path / "c") as opened:
        assert opened.add_documents(docs).unchanged == 3


class CountingEncoder(FakeEncoder):
    """Tells its tokens: one per letter, 20 of a document in its window."""

    document_tokens = 20

    def token_counts(self, texts):
        """Letters of each text."""
        return np.array([len(text) for text in texts])


def test_w62_text_beyond_the_window_is_divided_refused_or_counted(tmp_path):
    (tmp_path / "long.txt").write_text("abcd efgh. " * 10)
    with orthant.open(tmp_path / "c", encoder=CountingEncoder()) as opened:
        with pytest.raises(InputError, match=r"long\.txt.*longer than an encoder's window"):
            opened.add_documents(tmp_path / "long.txt", chunk="whole", truncation="error")
        assert len(opened) == 0
        opened.add_documents(tmp_path / "long.txt", chunk="whole", truncation="cut")
        assert len(opened) == 1
        report = opened.add_documents(tmp_path / "long.txt", chunk="whole")
        assert report.updated == 1 and len(opened) == 5
        assert all(sum(map(len, record.text.split())) <= 20 for record in opened.find())


def test_w62_real_encoders_tell_their_tokens():
    encoder = orthant.load_encoder("static")
    texts = ["a kite", "unbelievably", "", "naïve café 風"]
    counts = encoder.token_counts(texts)
    assert counts.dtype == np.int64 and counts[2] == 0 and counts[0] == 2
    assert encoder.token_counts(["a kite unbelievably"])[0] == counts[0] + counts[1]
    assert encoder.document_tokens is None


def test_passages(notes, docs):
    notes.add_documents(docs, chunk=Chunking(size=50, overlap=20))
    count = notes.get("kites.md#0").metadata["chunks"]
    whole = notes.passage("kites.md#1", before=9, after=99)
    assert whole.text == LONG.strip() and whole.chunks == tuple(f"kites.md#{i}" for i in range(count))
    part = notes.passage("kites.md#2", before=1)
    assert part.chunks == ("kites.md#1", "kites.md#2") and LONG[part.start : part.end] == part.text
    assert (part.parent, part.title, part.heading, part.source) == ("kites.md", "Kites", "Kites", "kites.md")
    notes.delete(["kites.md#3"])
    assert notes.passage("kites.md#2", after=5).chunks == ("kites.md#2",)
    notes.upsert(["plain"], texts=["words"])
    with pytest.raises(InputError, match="no chunk"):
        notes.passage("plain")
    with pytest.raises(InputError, match="before"):
        notes.passage("kites.md#2", before=-1)
    with pytest.raises(NotFoundError):
        notes.passage("kites.md#99")


def test_an_interrupted_call_is_continued(notes, docs, monkeypatch):
    real, calls = notes._store.commit, []

    def failing(*arguments, **settings):
        calls.append(1)
        if len(calls) == 2:
            raise StoreError("the disk is full")
        return real(*arguments, **settings)

    monkeypatch.setattr(notes._store, "commit", failing)
    with pytest.raises(StoreError):
        notes.add_documents(docs, batch_size=1)
    report = notes.add_documents(docs, batch_size=1)
    assert (report.unchanged, report.added) == (1, 2)


@pytest.mark.parametrize(
    "settings",
    [
        {"chunk": 3},
        {"chunk": "pages"},
        {"on_error": "ignore"},
        {"truncation": "drop"},
        {"prefix": "x" * 200},
        {"max_bytes": 0},
        {"batch_size": 0},
        {"root": "nowhere"},
    ],
)
def test_settings_out_of_range_are_refused(notes, docs, settings):
    with pytest.raises(InputError):
        notes.add_documents(docs, **settings)
    assert len(notes) == 0


def test_odd_names_and_read_only(notes, docs, tmp_path):
    (docs / ("ü" * 120 + ".txt")).write_text("Long name.")
    bad = os.fsdecode(os.fsencode(docs) + b"/\xff.txt")
    try:
        with open(bad, "w") as handle:
            handle.write("No name.")
    except OSError:
        bad = None
    report = notes.add_documents(docs, on_error="skip")
    assert report.added == 4 and len(report.skipped) == (bad is not None)
    with orthant.open(tmp_path / "notes", read_only=True) as reader, pytest.raises(StoreReadOnlyError):
        reader.add_documents(docs)


def test_why_not_of_a_document_names_a_chunk(notes, docs):
    notes.add_documents(docs)
    why = str(notes.why_not("kite", "kites.md"))
    assert "is a document" in why and "'kites.md#0'" in why
    assert "is the id of no record" in str(notes.why_not("kite", "kites.txt"))


def test_a_folder_without_texts_says_what_reads_other_documents(notes, docs):
    for name in ("kites.md", "old.txt"):
        (docs / name).unlink()
    with pytest.raises(InputError, match=r"add_documents \(--documents\)"):
        notes.add(docs)
