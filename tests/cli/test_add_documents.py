"""``orthant add --documents``: a folder becomes a searchable collection by one command."""

from __future__ import annotations

import json

import orthant

WORDS = [
    "kite",
    "boat",
    "whale",
    "bread",
    "storm",
    "violin",
    "harbour",
    "beach",
    "oven",
    "string",
    "wind",
    "sail",
    "rain",
    "dough",
    "bow",
    "sea",
]


def _folder(path, count):
    """Small files of many kinds; file ``i`` has the word ``mark{i}``."""
    path.mkdir()
    for i in range(count):
        words = " ".join(WORDS[(i * 7 + j * j) % len(WORDS)] for j in range(30)) + f" mark{i}."
        kind = i % 8
        name, text = (
            (f"t{i}.txt", words),
            (f"m{i}.md", f"# Title {i}\n\n{words}\n\n## Part\n\nMore of {words}\n"),
            (f"h{i}.html", f"<title>T{i}</title><nav>Home</nav><h1>Page {i}</h1><p>{words}"),
            (f"p{i}.py", f'"""{words}"""\n\n\ndef mark{i}(x):\n    return x\n'),
            (f"j{i}.js", f"// {words}\nfunction f() {{\n  return 1;\n}}\n"),
            (f"e{i}.eml", f"From: a@x.example\nSubject: S{i}\nMessage-ID: <{i}@x>\n\n{words}\n"),
            (f"l{i}.txt", f"caf\xe9 {words}"),
            (f"s{i}.rs", f"// {words}\nfn main() {{}}\n"),
        )[kind]
        sub = path / f"d{i % 5}"
        sub.mkdir(exist_ok=True)
        (sub / name).write_bytes(text.encode("cp1252"))
    return path


def test_a_thousand_mixed_files_by_one_command(run, tmp_path):
    count = 1000
    docs = _folder(tmp_path / "docs", count)
    ran = run("add", tmp_path / "c", docs, "--documents", "--encoder", "static", "--json")
    assert ran.code == 0 and ran.err == ""
    report = ran.json["documents"]
    assert report["added"] == count and report["encodings"]["cp1252"] == count // 8
    assert report["vectors"]["default"] == ran.json["records"] == report["chunks_written"]
    again = run("add", tmp_path / "c", docs, "--documents", "--json").json["documents"]
    assert (again["unchanged"], again["chunks_written"]) == (count, 0)
    assert again["generation"] == report["generation"]
    with orthant.open(tmp_path / "c", read_only=True) as opened:
        assert opened._store.generation.number == report["generation"]
        for i in range(0, count, max(1, count // 16)):
            hit = opened.search(f"mark{i}", k=1, mode="lexical")[0]
            assert hit.metadata["parent"].split("/")[1].split(".")[0][1:] == str(i)
    ran = run("search", tmp_path / "c", "mark3", "--json")
    assert json.loads(ran.out)["hits"]


def test_a_person_is_told_what_happened(run, tmp_path):
    docs = _folder(tmp_path / "docs", 8)
    (docs / "bad.txt").write_bytes(b"\0\1" * 100)
    (docs / "photo.png").write_bytes(b"x")
    ran = run("add", tmp_path / "c", docs, "--documents", "--on-error", "skip", "--chunk", "sentences:10")
    for words in ("8 added", "bad.txt: Got bytes that are no text", ".png (1)", "holds"):
        assert words in ran.out
    assert "only words are searchable" in ran.err and "read as Windows-1252: d1/l6.txt. Where" in ran.err
    for i in range(12):
        (docs / f"empty{i:02}.rst").touch()
    ran = run("add", tmp_path / "c", docs, "--documents", "--on-error", "skip", "--chunk", "sentences:10")
    assert "12 without a word: empty00.rst" in ran.out and "empty09.rst and 2 more" in " ".join(ran.out.split())
    (docs / "d0" / "t0.txt").unlink()
    settings = ("--documents", "--on-error", "skip", "--chunk", "sentences:10")
    assert "--prune deletes them" in run("add", tmp_path / "c", docs, *settings).err
    assert "1 documents whose files are gone" in run("add", tmp_path / "c", docs, *settings, "--prune").out


def test_refused_without_a_trace(refused, tmp_path):
    docs = _folder(tmp_path / "docs", 8)
    refused("add", tmp_path / "c", docs, "--prune", says=["--prune without --documents"])
    refused("add", tmp_path / "c", docs, "--documents", "--dry-run", says=["--dry-run"])
    refused("add", tmp_path / "c", docs, "--documents", "--id-field", "x", says=["--id-field"])
    refused("add", tmp_path / "c", docs, "--documents", "--chunk", "pages", says=["whole"])
    refused("add", tmp_path / "c", tmp_path / "nothing", "--documents", says=["nothing at"])
    (docs / "bad.txt").write_bytes(b"\0\1" * 100)
    refused("add", tmp_path / "c", docs, "--documents", "--encoder", "static", says=["bad.txt"])
    assert not (tmp_path / "c").exists()
    (tmp_path / "c").mkdir()
    refused("add", tmp_path / "c", docs, "--documents", says=["bad.txt"])
    assert not list((tmp_path / "c").iterdir())


def test_files_that_need_documents_are_not_left_out_silently(run, tmp_path):
    docs = _folder(tmp_path / "docs", 8)
    for name in docs.rglob("l*.txt"):
        name.unlink()
    ran = run("add", tmp_path / "c", docs)
    assert ran.code == 0 and "5 files were left out (.eml, .html, .js, .py, .rs); --documents" in ran.err
    ran = run("add", tmp_path / "c", docs, "--json")
    assert any("--documents" in note for note in ran.json["notes"])
