"""Time skip-gram beside gensim at equal settings, and judge the vectors of both, from three seeds each.

    python benchmarks/word_vectors.py quality [--peer-python PYTHON_WITH_GENSIM] [--seeds 101 102 103] [--engines ...]
    python benchmarks/word_vectors.py speed [--peer-python PYTHON_WITH_GENSIM] [--threads 2] [--seeds 101 102]

Both read the same lists of words from newsgroups20, with the same dimension, window, noise, thinning, rate and rounds.
gensim lives in an environment of its own, which `--peer-python` names; without it the peer is missing. Quality is rank
correlation with judged similarity on pairs that both know, of training by one thread, which a seed decides; it may be
measured beside other work. Seconds are wall-clock of training alone, after a short warm-up: run `speed` alone on the
machine. `--part` below 1 tries either on the first texts and stores nothing. ORTHANT_DATA must be set.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from orthant.artifact import write_bytes_atomically
from orthant.datasets import load
from orthant.encoders.words.corpus import read_corpus, words_of
from orthant.encoders.words.skipgram import train_skipgram
from orthant.encoders.words.vectors import WordVectors
from orthant.evaluation.context import run_context
from orthant.evaluation.intrinsic.words import evaluate_words

RESULT = Path(__file__).parent / "results" / "word_vectors.json"
SETTINGS = {"dim": 100, "window": 5, "negatives": 5, "epochs": 5, "min_count": 5, "sample": 1e-3, "rate": 0.025}
PARTS = ("men", "wordsim353-rel", "wordsim353-sim", "simlex999")

PEER = """
import json, sys, time
from gensim.models import Word2Vec
texts, out, threads, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
s = json.loads(sys.argv[5])
rows = [line.split() for line in open(texts, encoding="utf-8")]
model = Word2Vec(vector_size=s["dim"], window=s["window"], negative=s["negatives"], min_count=s["min_count"],
                 sample=s["sample"], alpha=s["rate"], min_alpha=s["rate"] / 250, sg=1, workers=threads, seed=seed)
model.build_vocab(rows)
begun = time.perf_counter()
model.train(rows, total_examples=len(rows), epochs=s["epochs"])
seconds = time.perf_counter() - begun
model.wv.save_word2vec_format(out, binary=True)
print(json.dumps({"seconds": seconds, "words": int(model.corpus_total_words)}))
"""


def passages(part: float) -> list[list[str]]:
    """Lists of at most 1,000 words, since gensim cuts longer ones at 10,000."""
    found = load("newsgroups20")
    rows = [words_of(text) for text, row in zip(found.texts, found.metadata, strict=True) if not row["duplicate"]]
    rows = rows[: max(1, round(part * len(rows)))]
    return [row[i : i + 1000] for row in rows for i in range(0, len(row), 1000)]


def quality(words: WordVectors) -> dict[str, float]:
    found = {part: evaluate_words(words, load("word_benchmarks", part=part)) for part in PARTS}
    return {part: report.metrics["spearman"] for part, report in found.items()}


def ours(rows: list[list[str]], threads: int, seed: int) -> dict:
    settings = {name: value for name, value in SETTINGS.items() if name != "min_count"}
    corpus = read_corpus(rows, min_count=SETTINGS["min_count"])
    train_skipgram(read_corpus(rows[:50], min_count=1), dim=SETTINGS["dim"], epochs=1, threads=threads)
    begun = time.perf_counter()
    words = train_skipgram(corpus, threads=threads, seed=seed, **settings)
    return {"seconds": time.perf_counter() - begun, "quality": quality(words), "words": len(corpus.tokens)}


def peer(python: str, rows: list[list[str]], threads: int, seed: int) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        texts, out = Path(folder) / "texts.txt", Path(folder) / "peer.bin"
        texts.write_text("\n".join(" ".join(row) for row in rows) + "\n", encoding="utf-8")
        command = [python, "-c", PEER, str(texts), str(out), str(threads), str(seed), json.dumps(SETTINGS)]
        ran = subprocess.run(command, capture_output=True, text=True, check=True)
        found = json.loads(ran.stdout.splitlines()[-1])
        return {**found, "quality": quality(WordVectors.read(out, format="binary"))}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("quality", "speed"))
    parser.add_argument("--peer-python")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="for speed alone")
    parser.add_argument("--part", type=float, default=1.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[101, 102, 103])
    parser.add_argument("--engines", nargs="+", choices=("orthant", "gensim"), default=["orthant", "gensim"])
    given = parser.parse_args(arguments)
    rows = passages(given.part)
    arms = {"orthant": lambda t, s: ours(rows, t, s), "gensim": lambda t, s: peer(given.peer_python, rows, t, s)}
    engines = [name for name in given.engines if name != "gensim" or given.peer_python]
    left_out = "seconds" if given.what == "quality" else "quality"
    for threads in given.threads if given.what == "speed" else [1]:
        for seed in given.seeds:
            for name in engines:
                point = {"engine": name, "threads": threads, "seed": seed, **arms[name](threads, seed)}
                del point[left_out]
                print(json.dumps(point), file=sys.stderr)
                if given.part == 1.0:
                    store(given.what, point)
    return 0


def store(what: str, point: dict) -> None:
    """Put one point in place of the former one, so that the run can be divided."""
    key = ("engine", "threads", "seed")
    known = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    kept = {part: known.get(part, []) for part in ("quality", "speed")}
    same = [point[name] for name in key]
    kept[what] = [one for one in kept[what] if [one[name] for name in key] != same] + [point]
    kept[what].sort(key=lambda one: [one[name] for name in key])
    missing = sorted({"orthant", "gensim"} - {one["engine"] for one in kept["quality"] + kept["speed"]})
    record = {"settings": SETTINGS, **kept, "missing": missing, "context": run_context(seed=point["seed"])}
    write_bytes_atomically(RESULT, (json.dumps(record, indent=2) + "\n").encode())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
