"""Texts and pairs the static table is fitted on: open data folders and installed documentation.

Only folders whose licence column reads *open* are read, and no text of a set this encoder is judged on
(STS-B, Cranfield, NPL, CoSQA). Documentation comes from the interpreter's standard library and a fixed list
of permissively licensed packages, parsed with ``ast`` and never imported.
"""

from __future__ import annotations

import ast
import csv
import gzip
import io
import json
import random
import re
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

# Packages whose docstrings are read, all under BSD, MIT, PSF, HPND or Apache-2.0 terms.
DOCUMENTED_PACKAGES = (
    "numpy", "scipy", "sklearn", "pandas", "matplotlib", "networkx", "sympy", "torch", "transformers",
    "sentence_transformers", "polars", "pyarrow", "jinja2", "rich", "pydantic", "huggingface_hub", "h5py", "PIL",
    "numba", "onnx", "typer", "click", "fsspec", "joblib", "dateutil", "mpmath", "pip", "setuptools",
    "hypothesis", "psutil", "tqdm", "anyio",
)  # fmt: skip
FUNCTIONS_PER_PACKAGE = 1_100
FUNCTIONS_OF_STDLIB = 8_000
NEWSGROUP_MESSAGES = 9_000
FILMS = 11_000
DEFINITION_SHARE = 0.6

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z(\"'])")
_SPACE = re.compile(r"\s+")


@dataclass
class Corpus:
    """Unique texts, pairs of positions into them, and held-out development retrieval sets."""

    texts: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    pairs: list[tuple[int, int, str]] = field(default_factory=list)
    dev: dict[str, tuple[list[str], list[str]]] = field(default_factory=dict)
    _positions: dict[str, int] = field(default_factory=dict, repr=False)

    def add(self, text: str, source: str) -> int:
        """Keep a text once and return its position."""
        text = text.strip()
        position = self._positions.get(text)
        if position is None:
            position = len(self.texts)
            self._positions[text] = position
            self.texts.append(text)
            self.sources.append(source)
        return position

    def pair(self, left: str, right: str, source: str) -> None:
        """Keep two texts that belong together."""
        if len(left.strip()) > 2 and len(right.strip()) > 2:
            self.pairs.append((self.add(left, source), self.add(right, source), source))


def rows(path: Path) -> Iterator[dict]:
    """Rows of a gzipped JSON-lines or tab-separated file."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as handle:
        if path.name.endswith(".tsv.gz"):
            yield from csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE)
        else:
            for line in handle:
                yield json.loads(line)


def sentences(text: str, shortest: int = 20, longest: int = 300) -> list[str]:
    """Split prose at sentence ends and keep sentences of a usable length."""
    pieces = _SENTENCE_END.split(_SPACE.sub(" ", text).strip())
    return [piece for piece in pieces if shortest <= len(piece) <= longest]


def _held_out(pairs: list[tuple[str, str]], rng: random.Random, count: int) -> tuple[list, list]:
    """Take ``count`` pairs aside, keeping every pair that shares a question with one of them out of training."""
    order = list(range(len(pairs)))
    rng.shuffle(order)
    seen: set[str] = set()
    for position in order:
        if len(seen) >= count:
            break
        seen.add(pairs[position][0])
    first: dict[str, str] = {}
    for question, answer in pairs:
        if question in seen:
            first.setdefault(question, answer)
    return list(first.items()), [pair for pair in pairs if pair[0] not in seen]


def _add_retrieval(corpus: Corpus, name: str, pairs: list[tuple[str, str]], rng: random.Random, held: int) -> None:
    dev, train = _held_out(pairs, rng, held)
    corpus.dev[name] = ([question for question, _ in dev], [answer for _, answer in dev])
    dev_texts = {text for pair in dev for text in pair}
    for question, answer in train:
        if question not in dev_texts and answer not in dev_texts:
            corpus.pair(question, answer, name)


def add_open_folders(corpus: Corpus, data: Path, rng: random.Random) -> None:
    """Add the open data folders; ``data`` is the folder ORTHANT_DATA names."""
    papers = [row for row in rows(data / "papers/papers.jsonl.gz") if row["text"]]
    _add_retrieval(corpus, "papers", [(row["title"], row["text"]) for row in papers], rng, 1_000)
    answers = [(row["question"], row["text"]) for row in rows(data / "medquad/qa.jsonl.gz") if row["text"]]
    _add_retrieval(corpus, "medquad", answers, rng, 1_000)
    held = {text for questions, documents in corpus.dev.values() for text in [*questions, *documents]}
    for row in papers:
        if row["text"] not in held and rng.random() < 0.8:
            parts = sentences(row["text"])
            if len(parts) >= 4:
                left, right = rng.sample(parts, 2)
                corpus.pair(left, right, "abstract_sentences")
    for question, text in answers:
        if text not in held and rng.random() < 0.5:
            parts = sentences(text)
            if len(parts) >= 2:
                corpus.pair(question, rng.choice(parts), "medquad_sentence")

    messages = [row for row in rows(data / "newsgroups20/newsgroups.jsonl.gz") if not row["duplicate"]]
    for row in rng.sample(messages, NEWSGROUP_MESSAGES):
        lines = [line for line in row["text"].splitlines() if line and line[0] not in ">|:" and "writes:" not in line]
        body = _SPACE.sub(" ", " ".join(lines))
        corpus.pair(re.sub(r"^(re|fwd?): *", "", row["subject"], flags=re.I), body[:900], "newsgroups")
        parts = sentences(body)
        if len(parts) >= 3:
            start = rng.randrange(len(parts) - 1)
            corpus.pair(parts[start], parts[start + 1], "newsgroup_sentences")

    films = [row for row in rows(data / "movies/movies.jsonl.gz") if len(row["text"] or "") > 150]
    for row in rng.sample(films, FILMS):
        parts = sentences(row["text"])
        if len(parts) >= 2:
            corpus.pair(parts[0], " ".join(parts[1:])[:700], "movies")
        corpus.pair(f"{row['title']} ({row['year']} {' '.join(row['genres'])})", row["text"][:700], "movie_titles")

    for row in rows(data / "wordnet/synsets.tsv.gz"):
        if rng.random() > DEFINITION_SHARE:
            continue
        members = row["members"].split("|")
        corpus.pair(", ".join(members), row["definition"], "wordnet")
        for example in row["examples"].split(" | ")[:1]:
            if len(example) > 15:
                corpus.pair(example, f"{rng.choice(members)}: {row['definition']}", "wordnet_examples")

    for row in rows(data / "nl2code/pydocs.jsonl.gz"):
        corpus.pair(row["intent"], row["snippet"], "pydocs")
    for row in rows(data / "nl2code/smcalflow_valid.jsonl.gz"):
        corpus.add(row["utterance"], "smcalflow")
    for row in rows(data / "stackoverflow_titles/titles.tsv.gz"):
        corpus.add(row["title"], "stackoverflow_titles")
    for row in rows(data / "banking77/train.tsv.gz"):
        corpus.add(row["text"], "banking77")
    for row in rows(data / "clinc150/clinc150.tsv.gz"):
        corpus.add(row["text"], "clinc150")
    for row in rows(data / "emoji/emoji.jsonl.gz"):
        if row["skin_tone"] is None:
            corpus.pair(row["name"], " ".join(row["keywords"]).replace("_", " "), "emoji")

    paragraphs = {row["para"]: row["text"] for row in rows(data / "xquad/corpus.jsonl.gz") if row["lang"] == "en"}
    for row in rows(data / "xquad/queries.jsonl.gz"):
        if row["lang"] == "en":
            corpus.pair(row["text"], paragraphs[row["para"]], "xquad")
    for row in rows(data / "qmsum/queries.jsonl.gz"):
        if row["kind"] == "specific":
            corpus.pair(row["text"], row["answer"], "qmsum")
    for name in ("inaugural", "state_union"):
        for row in rows(data / f"longtexts/{name}.jsonl.gz"):
            parts = sentences(row["text"], 30)
            for start in range(0, len(parts) - 1, 2):
                if rng.random() < 0.7:
                    corpus.pair(parts[start], parts[start + 1], "speeches")


def _documented_functions(folder: Path) -> Iterator[tuple[str, str, str, str]]:
    """Yield (name, first paragraph of the docstring, whole source, source without that paragraph)."""
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).parts
        if any(part in {"site-packages", "tests", "test", "testing", "lib2to3", "_vendor"} for part in parts[:-1]):
            continue
        try:
            source = path.read_text(encoding="utf-8")
            tree = ast.parse(source)
        except (SyntaxError, UnicodeDecodeError):
            continue
        lines = source.splitlines()
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            documentation = ast.get_docstring(node)
            if documentation is None or len(documentation) < 20:
                continue
            summary = _SPACE.sub(" ", documentation.split("\n\n", 1)[0]).strip()
            if not 12 <= len(summary) <= 300:
                continue
            rest = documentation.split("\n\n", 1)[1] if "\n\n" in documentation else ""
            head = "\n".join(lines[node.lineno - 1 : node.body[0].lineno - 1]).strip()
            body = "\n".join(lines[(node.body[0].end_lineno or node.lineno) : node.end_lineno])
            whole = f"{head}\n    {summary}\n{body}"
            yield node.name, summary, whole[:700], f"{head}\n{rest[:300]}\n{body}"[:600]


def add_documentation(corpus: Corpus, rng: random.Random, held: int = 1_000) -> None:
    """Add docstrings of the standard library and of the listed packages, as pairs of summary and source."""
    paths = sysconfig.get_paths()
    folders = [(Path(paths["stdlib"]), FUNCTIONS_OF_STDLIB)]
    folders += [(Path(paths["purelib"]) / name, FUNCTIONS_PER_PACKAGE) for name in DOCUMENTED_PACKAGES]
    functions: dict[str, tuple[str, str, str, str]] = {}
    for folder, most in folders:
        found: dict[str, tuple[str, str, str, str]] = {}
        for function in _documented_functions(folder):
            found.setdefault(function[1], function)
        kept = sorted(found)
        for summary in kept if len(kept) <= most else rng.sample(kept, most):
            functions.setdefault(summary, found[summary])
    listed = [functions[summary] for summary in sorted(functions)]
    rng.shuffle(listed)
    corpus.dev["docstrings"] = ([row[1] for row in listed[:held]], [row[3] for row in listed[:held]])
    for name, summary, whole, rest in listed[held:]:
        corpus.pair(summary, rest, "docstrings")
        words = re.sub(r"(?<=[a-z])(?=[A-Z])|_+", " ", name).strip().lower()
        if " " in words:
            corpus.pair(rng.choice(("", "python ", "how to ", "")) + words, whole, "function_names")


def _shuffled(corpus: Corpus, rng: random.Random) -> Corpus:
    """The same texts and pairs in random order, both sides of a pair close together, so that any prefix is a sample."""
    paired = {position for left, right, _ in corpus.pairs for position in (left, right)}
    units: list[tuple] = [
        *corpus.pairs,
        *((position,) for position in range(len(corpus.texts)) if position not in paired),
    ]
    rng.shuffle(units)
    out = Corpus(dev=corpus.dev)
    for unit in units:
        moved = [out.add(corpus.texts[position], corpus.sources[position]) for position in unit[:2]]
        if len(unit) == 3:
            out.pairs.append((moved[0], moved[1], unit[2]))
    return out


def build_corpus(data: Path, seed: int = 0) -> Corpus:
    """Everything the table is fitted on, in a fixed order under ``seed``."""
    rng = random.Random(seed)
    corpus = Corpus()
    add_open_folders(corpus, data, rng)
    add_documentation(corpus, rng)
    return _shuffled(corpus, rng)


def describe(corpus: Corpus) -> str:
    """Counts per source, one line each."""
    counts: dict[str, list[int]] = {}
    for text, source in zip(corpus.texts, corpus.sources, strict=True):
        entry = counts.setdefault(source, [0, 0])
        entry[0] += 1
        entry[1] += len(text)
    out = io.StringIO()
    for source, (number, characters) in sorted(counts.items()):
        out.write(f"{source:22s} {number:7d} texts {characters / number:7.1f} characters each\n")
    out.write(f"{len(corpus.texts)} texts, {len(corpus.pairs)} pairs")
    return out.getvalue()
