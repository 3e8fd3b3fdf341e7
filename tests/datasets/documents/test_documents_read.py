"""Readers of documents: what each keeps and drops, encodings, and input that is broken or does not end."""

from __future__ import annotations

import codecs
import mailbox
import sys
import types
from email.message import EmailMessage

import pytest

from collection.documents.pdfs import make_pdf
from orthant.datasets.documents import chunk_document, find_documents, read_document, read_documents
from orthant.datasets.documents.kinds import tidy
from orthant.datasets.documents.markup import html_text
from orthant.errors import InputError, MissingExtraError, NotFoundError

PAGE = b"""<html><head><title>Kites &amp; wind</title><style>p {color: red}</style></head><body>
<nav><ul><li>Home<li>Shop</ul></nav><h1>All <b>about</b> kites</h1><p>One
 line   of words.<p>Another.<script>var x = "<h1>no</h1>";</script>
<h2>Knots</h2><pre>a = 1
  b = 2</pre><!-- hidden --><div role="navigation">Next page</div><table><tr><td>1<td>2</table></body>"""


def _marks(document):
    """What stands at each mark, with its level and title."""
    return [(document.text[mark.position :].split("\n", 1)[0], mark.level, mark.title) for mark in document.marks]


def test_html_keeps_words_and_headings_and_drops_the_rest():
    page = read_document(PAGE, "html")
    assert page.title == "Kites & wind"
    assert page.text == "All about kites\n\nOne line of words.\n\nAnother.\n\nKnots\n\na = 1\n  b = 2\n\n1 2"
    assert _marks(page) == [("All about kites", 1, "All about kites"), ("Knots", 2, "Knots")]


def test_navigation_that_never_ends_is_kept():
    assert "The only words" in html_text("<nav><p>The only words")[0]
    assert html_text("<nav><nav>in</nav>still in</nav>out")[0] == "out"
    assert html_text("<script>lost = 1 </p> <p>found")[0].endswith("found")


ENDLESS = ["<", "<!--", "<a ", "</", "<!", "<?", "&#", "<div>", "<script>", "<![CDATA[", "<nav>", "<h1>"]


# Going back over what was read, for each piece, would take many minutes.
@pytest.mark.timeout(60)
@pytest.mark.parametrize("piece", [*ENDLESS, "<a x='", '<a x="<b y=">'])
def test_html_without_end_ends(piece):
    words, *_ = html_text(piece * 150_000)
    assert len(words) <= len(piece) * 150_000


def test_html_in_the_encoding_it_declares():
    page = "<meta charset='koi8-r'><p>змей".encode("koi8-r")
    assert read_document(page, "html").text == "змей"
    assert read_document(page, "html").encoding == "koi8-r"
    unknown = "<meta charset='nonsense'><p>café".encode("cp1252")
    assert read_document(unknown, "html").text == "café"


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        ("naïve".encode(), "utf-8"),
        (codecs.BOM_UTF8 + "naïve".encode(), "utf-8"),
        ("naïve".encode("utf-16"), "utf-16"),
        (codecs.BOM_UTF16_BE + "naïve".encode("utf-16-be"), "utf-16"),
        ("naïve".encode("utf-32"), "utf-32"),
        ("naïve".encode("cp1252"), "cp1252"),
    ],
)
def test_encodings(data, encoding):
    document = read_document(data, "text")
    assert (document.text, document.encoding) == ("naïve", encoding)


@pytest.mark.parametrize("data", [b"\0\1\2\3" * 50, codecs.BOM_UTF16_LE + b"\0\xd8\0\xd8x"])
def test_bytes_that_are_no_text_are_refused(data):
    with pytest.raises(InputError, match="no "):
        read_document(data, "text")


ESCAPED = "\\ud800 café".encode("cp1252")


@pytest.mark.parametrize(
    ("kind", "head"),
    [
        ("html", b"<meta charset=unicode_escape><p>"),
        ("mail", b"Subject: x\nContent-Transfer-Encoding: 8bit\nContent-Type: text/plain; charset=unicode_escape\n\n"),
    ],
)
def test_an_encoding_that_spells_half_a_character_is_passed_over(kind, head):
    text = read_document(head + ESCAPED, kind).text
    assert text.endswith("\\ud800 café") and text.encode()


RUNS = [
    b"a" + b" " * 200_000 + b"b",
    b"a" + b"." * 200_000 + b"b",
    b"\n" * 200_000 + b" b",
    b"# a" + b"\t" * 200_000 + b"b",
]


# Looking at what is left of a run from each of its characters would take minutes.
@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["text", "markdown", "html", "code"])
@pytest.mark.parametrize("run", range(len(RUNS)))
def test_long_runs_are_read_and_divided_in_linear_time(run, kind):
    data = (b"<pre>" if kind == "html" else b"") + RUNS[run] + b" c d" * 300
    chunks = chunk_document(read_document(data, kind))
    assert chunks[-1].text.endswith("d")


def test_what_is_too_long_to_read_is_no_heading():
    line = "word " * 200
    assert read_document(f"# {line}\n\n{line}\n===\n\n# Short\n".encode(), "markdown").title == "Short"
    assert read_document(f"<h1>{line}</h1><h2>Short</h2>".encode(), "html").marks[0].title == "Short"


def test_pages_whose_title_is_all_they_have():
    page = read_document(b"<title>Kites</title><script>run()</script>", "html")
    assert (page.title, page.text) == ("Kites", "Kites")
    unclosed = read_document(b"<title>Kites<body><p>Hello", "html")
    assert (unclosed.title, unclosed.text) == ("Kites", "Hello")


def test_tidy_bounds_blanks():
    assert tidy("a \t\r\nb\r\n\r\n\r\n\r\nc\0\n\n") == "a\nb\n\nc"
    assert tidy("\n\n\na\n\n\n\nb\n", code=True) == "\n\n\na\n\n\n\nb"


def test_markdown_headings():
    text = (
        "---\ntitle: 'Notes'\n---\n# One #\ntext\n\nTwo\n---\n- item\n---\n```\n# no heading\n```\n"
        "### *Three* [link](http://x)\n#no heading either\n\nOne more\n===\n"
    )
    document = read_document(text.encode(), "markdown")
    assert document.title == "Notes"
    assert [mark[1:] for mark in _marks(document)] == [(1, "One"), (2, "Two"), (3, "Three link"), (1, "One more")]
    assert all(line.lstrip("# ").startswith(title[:3]) or "Three" in line for line, _, title in _marks(document))


def test_python_sections():
    code = (
        "import os\n\n\n# Why.\n@cached\ndef f():\n    def inner():\n        pass\n\n\n"
        "class A:\n    x = 1\n\n    async def g(self):\n        pass\n"
    )
    document = read_document(code.encode(), "python")
    assert _marks(document) == [
        ("# Why.", 1, "def f"),
        ("class A:", 1, "class A"),
        ("    async def g(self):", 2, "def g"),
    ]
    broken = read_document(b"def f(:\n    pass\n", "python")
    assert broken.kind == "code" and broken.marks == () and broken.text.startswith("def f(:")


def _mail(**headers):
    mail = EmailMessage()
    for name, value in headers.items():
        mail[name.replace("_", "-")] = value
    return mail


def test_mail_prefers_text_and_falls_back_to_html():
    mail = _mail(From="Ann <a@x.example>", To="b@x.example", Subject="Grüße", Date="Mon, 02 Mar 2020 10:00:00 +0100")
    mail["Message-ID"] = "<1@x.example>"
    mail.set_content("The plain part.")
    mail.add_alternative("<p>The <b>rich</b> part.", subtype="html")
    mail.add_attachment(b"\0", maintype="application", subtype="x", filename="a.bin")
    document = read_document(mail.as_bytes(), "mail")
    assert (document.text, document.title, document.kind) == ("Grüße\n\nThe plain part.", "Grüße", "mail")
    assert document.metadata == {
        "from": "Ann <a@x.example>",
        "to": "b@x.example",
        "date": "2020-03-02T09:00:00Z",
        "message_id": "1@x.example",
        "attachments": ["a.bin"],
    }
    only = _mail(Subject="Hello")
    only.set_content("<p>The <b>rich</b> part.", subtype="html")
    assert read_document(only.as_bytes(), "mail").text == "Hello\n\nThe rich part."


@pytest.mark.parametrize(
    "head",
    [
        b"From: =?utf-7?q?+2AA-?= a@x",
        b"Date: yesterday",
        b"From: =?utf-8?q?=ff?= <<>>;;",
        b"Subject: caf\xe9",
        b"To: ,,;:\xff@",
        b"X: 1",
        b"Content-Disposition: inline; filename*0*=",
        b"Content-Disposition: inline; a*",
        b'Content-Type: text/plain; charset="a\0b"',
    ],
)
def test_odd_headers_are_no_reason_to_lose_a_mail(head):
    document = read_document(head + b"\n\nThe body.\n", "mail")
    assert document.text == (f"{document.title}\n\nThe body." if document.title else "The body.")
    f"{document.title}{document.metadata}".encode()
    assert "date" not in document.metadata


def test_a_mail_is_searched_by_its_subject_too():
    assert read_document(b"Subject: Lunch at noon?\n\n", "mail").text == "Lunch at noon?"


@pytest.mark.parametrize(
    "piece",
    [
        b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (i, i) for i in range(1200)),
        b"Content-Type: message/rfc822\n\n" * 1200,
    ],
)
def test_parts_without_end_are_refused(piece):
    with pytest.raises(InputError, match="inside each other"):
        read_document(b"Subject: x\n" + piece + b"Subject: y\n\nz\n", "mail")


def test_mailbox_keys_stay_when_messages_go(tmp_path):
    path = tmp_path / "in.mbox"
    box = mailbox.mbox(path)
    for subject, key in (("one", "<a@x>"), ("two", "<b@x>"), ("three", "<a@x>"), ("four", None)):
        mail = _mail(Subject=subject, **({"Message_ID": key} if key else {}))
        mail.set_content(f"Body of {subject}.")
        box.add(mail)
    box.close()
    from orthant.datasets.documents.reading import raw_documents

    keys = [key for key, _, _ in raw_documents(path, "mbox")]
    assert keys[:3] == ["a@x", "b@x", "a@x~2"] and len(keys[3]) == 20
    assert [document.title for document in read_documents(path)] == ["one", "two", "three", "four"]
    assert [data for _, _, data in raw_documents(path, "mbox", max_bytes=10)] == [None] * 4
    path.write_text("no mailbox")
    with pytest.raises(InputError, match="mbox"):
        read_documents(path)


class _StandIn(types.ModuleType):
    """Stands for pypdf where it is not installed: two pages, or trouble, as the bytes say."""

    def __init__(self):
        super().__init__("pypdf")
        self.PdfReader = _StandInReader


class _StandInReader:
    def __init__(self, stream):
        data = stream.read()
        if b"broken" in data:
            raise RecursionError("too deep")
        self.is_encrypted = b"locked" in data
        self.metadata = types.SimpleNamespace(title="Things", author="Ann")
        self.pages = [types.SimpleNamespace(extract_text=lambda t=t: t) for t in ("Kites fly", None, "Bo\ud800ats")]

    def decrypt(self, password):
        return 0


def test_pdf_pages_and_trouble(monkeypatch):
    monkeypatch.setitem(sys.modules, "pypdf", _StandIn())
    document = read_document(b"%PDF", "pdf")
    assert document.title == "Things" and document.metadata == {"pages": 3, "author": "Ann"}
    assert document.text.startswith("Kites fly\n\nBo") and document.text.endswith("ats")
    document.text.encode()
    assert document.pages == (0, 11, 11)
    with pytest.raises(InputError, match="encrypted"):
        read_document(b"locked", "pdf")
    with pytest.raises(InputError, match="broken PDF"):
        read_document(b"broken", "pdf")


def test_pdf_without_the_extra_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "pypdf", None)
    with pytest.raises(MissingExtraError, match="orthant\\[pdf\\]"):
        read_document(b"%PDF", "pdf")


def test_real_pdfs():
    pytest.importorskip("pypdf", reason="pypdf (extra pdf) is not installed; a stand-in is tested above")
    document = read_document(make_pdf(["Kites fly", "Boats sail"], title="Things"), "pdf")
    assert (document.text, document.title, document.pages) == ("Kites fly\n\nBoats sail", "Things", (0, 11))
    for bad, says in ((make_pdf(["x"], encrypt=True), "encrypted"), (b"%PDF-1.4 junk", "broken"), (b"", "broken")):
        with pytest.raises(InputError, match=says):
            read_document(bad, "pdf")


def test_finding(tmp_path):
    for name in ("a.md", "sub/b.txt", ".hidden/c.md", "node_modules/d.js", "other/store.sqlite", "other/e.md", "f.png"):
        path = tmp_path / "docs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    (tmp_path / "docs" / "loop").symlink_to(tmp_path / "docs")
    docs = tmp_path / "docs"
    found = find_documents(docs)
    assert [(file.folder, file.source) for file in found.files] == [("docs", "a.md"), ("docs", "sub/b.txt")]
    assert found.ignored == {".png": 1}
    # The same file named in two ways is one document, known by its folder.
    again = find_documents([docs / "a.md", docs])
    assert [file.source for file in again.files] == ["a.md", "sub/b.txt"]
    assert [f.source for f in find_documents(docs / "sub", root=docs).files] == ["sub/b.txt"]
    with pytest.raises(InputError, match="ending is unknown"):
        find_documents(docs / "f.png")
    with pytest.raises(NotFoundError):
        find_documents(docs / "nothing")
    with pytest.raises(InputError, match="outside root"):
        find_documents(docs, root=docs / "sub")
    twin = tmp_path / "elsewhere" / "docs"
    twin.mkdir(parents=True)
    (twin / "a.md").write_text("y")
    with pytest.raises(InputError, match="one document per name"):
        find_documents([docs, twin])


def test_longer_than_allowed_is_named(tmp_path):
    (tmp_path / "long.txt").write_text("x" * 101)
    with pytest.raises(InputError, match=r"long\.txt.*more than 100 bytes"):
        read_documents(tmp_path / "long.txt", max_bytes=100)
