"""An upgrade of the 16,407 MedQuAD answers by the command line: rehearsed, killed, resumed, committed, taken back.

``orthant upgrade`` runs in processes of its own. The run is killed by SIGKILL when half of its share has been written;
the answers of 200 questions and the bytes of every stored vector file are compared before and after. By default the
old model is the first quarter of the shipped word table and the new one is the whole table, which takes a minute;

    python benchmarks/upgrade_acceptance.py [--old static] [--new minilm] [--share 1.0] [--count 16407]

With ``--old static --new minilm`` MiniLM encodes ``share`` of the answers, some hours of one core at share 1.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import orthant
from orthant.datasets import load
from orthant.encoders.registry import load_encoder
from orthant.encoders.static import StaticEncoder
from orthant.evaluation.context import run_context

RESULT = Path(__file__).parent / "results" / "upgrade_acceptance.json"
ASKED = 200


def quarter(folder: Path) -> Path:
    """Save the shipped word table with the first quarter of its values."""
    whole: Any = load_encoder("static")
    table = whole._table[:, : whole._table.shape[1] // 4]
    settings = {"scales": whole._scales, "levels": whole._levels, "power": whole.power, "name": "static-quarter"}
    StaticEncoder(table, whole._tokenizer.source, **settings).save(folder)
    return folder


def told(folder: Path, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(command(folder, *arguments), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def command(folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "orthant", "upgrade", str(folder), *arguments, "--json"]


def killed(folder: Path, arguments: list[str], due: int) -> int:
    """Start a run, kill it when it has written half of what is due, and return what it has written."""
    with subprocess.Popen(command(folder, *arguments), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and written(folder) < due // 2:
            time.sleep(0.02)
        if process.poll() is not None:
            raise SystemExit("the run ended before it could be killed: lower --batch or raise --share")
        os.kill(process.pid, signal.SIGKILL)
        return -process.wait()


def written(folder: Path) -> int:
    """Bytes of the new encoder's vectors."""
    return sum(file.stat().st_size for file in (folder / "vectors").glob("default.next.*/*.seg"))


def vector_files(folder: Path) -> dict[str, str]:
    files = sorted((folder / "vectors").rglob("*.seg"))
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def answers(folder: Path, questions: list[str], encoder: str) -> list[list[tuple[str, float]]]:
    with orthant.open(folder, encoder=encoder, read_only=True) as collection:
        results = collection.search_many(questions, k=10, mode="dense", include_text=False)
        return [[(hit.id, hit.score) for hit in result] for result in results]


def main(options: argparse.Namespace) -> None:
    judged: Any = load("medquad", every=1)
    corpus = judged.corpus[: options.count]
    names = {document.id for document in corpus}
    kept = [q for q in judged.judged if set(judged.qrels[q]) <= names]
    kept = [kept[i] for i in np.random.default_rng(0).permutation(len(kept))[:ASKED]]
    questions = [judged.queries[q] for q in kept]
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch)
        old = options.old or str(quarter(base / "old"))
        folder = base / "answers.orthant"
        with orthant.open(folder, encoder=old) as collection:
            collection.upsert([d.id for d in corpus], texts=[d.content for d in corpus])
        (base / "queries.jsonl").write_text(
            "".join(json.dumps({"_id": q, "text": judged.queries[q]}) + "\n" for q in kept)
        )
        lines = [f"{q}\t{d}\t{grade}" for q in kept for d, grade in judged.qrels[q].items()]
        (base / "qrels.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *lines]) + "\n")
        before, files = answers(folder, questions, old), vector_files(folder)
        # A folder is not stored as the name of an encoder, so every call before the cut-over is told.
        sample = ["--pairs", str(options.pairs), "--old", old]
        asked = ["--rehearse", "--queries", str(base / "queries.jsonl"), "--qrels", str(base / "qrels.tsv")]
        rehearsed = told(folder, options.new, *asked, *sample)
        run = [options.new, "--using", rehearsed["using"], "--run", "--share", str(options.share), *sample]
        dim = load_encoder(options.new).dim
        code = killed(folder, run, int(options.share * len(corpus)) * dim * 4)
        stopped = told(folder, "--old", old)
        same_after_kill = answers(folder, questions, old) == before
        resumed = told(folder, *run)
        same_before_commit = answers(folder, questions, old) == before
        committed = told(folder, "--commit", "--old", old)
        other = answers(folder, questions, options.new)
        closed = told(folder, "--rollback", "--old", old)
        with orthant.open(folder) as collection:
            sound = bool(collection.check().ok)
        out = {
            "records": len(corpus),
            "old": committed["old"],
            "new": committed["new"],
            "rehearsal": {key: rehearsed[key] for key in ("using", "action", "reason", "arms", "means", "ways")},
            "killed_by_signal": code,
            "encoded_when_killed": stopped["encoded"],
            "phase_when_killed": stopped["phase"],
            "answers_unchanged_after_kill": same_after_kill,
            "encoded_after_resuming": resumed["encoded"],
            "share_after_resuming": resumed["share"],
            "answers_unchanged_before_commit": same_before_commit,
            "phase_after_commit": committed["phase"],
            "questions_answered_otherwise_after_commit": sum(a != b for a, b in zip(before, other, strict=True)),
            "phase_after_rollback": closed["phase"],
            "answers_equal_after_rollback": answers(folder, questions, old) == before,
            "vector_files_equal_after_rollback": vector_files(folder) == files,
            "check_ok": sound,
        }
    results = json.loads(RESULT.read_text())["results"] if RESULT.exists() else {}
    results[f"{options.old or 'static-quarter'} to {options.new}"] = out
    RESULT.write_text(json.dumps({"results": results, "context": run_context(seed=0)}, indent=1) + "\n")
    print(json.dumps(out, indent=1))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--old", default=None, help="left out, a quarter of the shipped word table")
    parser.add_argument("--new", default="static")
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--pairs", type=int, default=5_000)
    main(parser.parse_args())
