"""An upgrade of the 16,407 MedQuAD answers by the command line: rehearsed, killed, resumed, committed, taken back.

``orthant upgrade`` runs in processes of its own. The run is killed by SIGKILL when half of its share has been written;
the answers of 200 questions and the bytes of every stored vector file are compared before and after. By default the
old model is the first quarter of the shipped word table and the new one is the whole table, which takes a minute;

    python benchmarks/upgrade_acceptance.py [--old static] [--new minilm] [--share 1.0] [--count 16407] [--folder DIR]

With ``--old static --new minilm`` MiniLM encodes ``share`` of the answers, some hours of one core at share 1. With
``--folder`` what is done is kept there, and a call that was stopped goes on with the stage that it was at.
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
from collections.abc import Callable
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


class Stages:
    """What was found by the stages that are done, kept in a folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "stages.json"
        self.found: dict[str, Any] = json.loads(self._path.read_text()) if self._path.exists() else {}

    def run(self, name: str, stage: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return what a stage found, now or by an earlier call."""
        if name not in self.found:
            self.found[name] = stage()
            self._path.write_text(json.dumps(self.found))
        done: dict[str, Any] = self.found[name]
        return done


def question_files(base: Path, judged: Any, kept: list[str]) -> list[str]:
    """Arguments of a rehearsal by some questions."""
    (base / "queries.jsonl").write_text("".join(json.dumps({"_id": q, "text": judged.queries[q]}) + "\n" for q in kept))
    lines = [f"{q}\t{d}\t{grade}" for q in kept for d, grade in judged.qrels[q].items()]
    (base / "qrels.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *lines]) + "\n")
    return ["--rehearse", "--queries", str(base / "queries.jsonl"), "--qrels", str(base / "qrels.tsv")]


def accept(options: argparse.Namespace, base: Path) -> dict[str, Any]:
    judged: Any = load("medquad", every=1)
    corpus = judged.corpus[: options.count]
    names = {document.id for document in corpus}
    kept = [q for q in judged.judged if set(judged.qrels[q]) <= names]
    kept = [kept[i] for i in np.random.default_rng(0).permutation(len(kept))[:ASKED]]
    questions, folder, stages = [judged.queries[q] for q in kept], base / "answers.orthant", Stages(base)
    old = options.old or str(quarter(base / "old"))
    # A folder is not stored as the name of an encoder, so every call before the cut-over is told.
    sample = ["--pairs", str(options.pairs), "--old", old]

    def made() -> dict[str, Any]:
        with orthant.open(folder, encoder=old) as collection:
            collection.upsert([d.id for d in corpus], texts=[d.content for d in corpus])
        return {"answers": answers(folder, questions, old), "files": vector_files(folder)}

    def stopped() -> dict[str, Any]:
        due = int(options.share * len(corpus)) * load_encoder(options.new).dim * 4
        code = killed(folder, run, due)
        status = told(folder, "--old", old)
        return {**status, "code": code, "same": answers(folder, questions, old) == before["answers"]}

    def resumed() -> dict[str, Any]:
        done = told(folder, *run)
        return {**done, "same": answers(folder, questions, old) == before["answers"]}

    def closed() -> dict[str, Any]:
        committed = told(folder, "--commit", "--old", old)
        other = answers(folder, questions, options.new)
        status = told(folder, "--rollback", "--old", old)
        changed = sum(a != b for a, b in zip(before["answers"], other, strict=True))
        with orthant.open(folder) as collection:
            sound = bool(collection.check().ok)
        same, files = answers(folder, questions, old) == before["answers"], vector_files(folder) == before["files"]
        return {
            "committed": committed,
            "closed": status,
            "changed": changed,
            "sound": sound,
            "same": same,
            "files": files,
        }

    # As JSON gives it back, so that a stage compares with one of an earlier call.
    before = json.loads(json.dumps(stages.run("made", made)))
    before["answers"] = [[tuple(hit) for hit in one] for one in before["answers"]]
    rehearsed = stages.run("rehearsed", lambda: told(folder, options.new, *question_files(base, judged, kept), *sample))
    run = [options.new, "--using", rehearsed["using"], "--run", "--share", str(options.share), *sample]
    return summary(
        len(corpus),
        rehearsed,
        stages.run("stopped", stopped),
        stages.run("resumed", resumed),
        stages.run("closed", closed),
    )


def summary(
    records: int, rehearsed: dict[str, Any], stopped: dict[str, Any], resumed: dict[str, Any], closed: dict[str, Any]
) -> dict[str, Any]:
    said = ("using", "action", "reason", "arms", "means", "now_means", "seen", "ways")
    return {
        "records": records,
        "old": closed["committed"]["old"],
        "new": closed["committed"]["new"],
        "rehearsal": {key: rehearsed[key] for key in said},
        "killed_by_signal": stopped["code"],
        "encoded_when_killed": stopped["encoded"],
        "phase_when_killed": stopped["phase"],
        "answers_unchanged_after_kill": stopped["same"],
        "encoded_after_resuming": resumed["encoded"],
        "share_after_resuming": resumed["share"],
        "answers_unchanged_before_commit": resumed["same"],
        "phase_after_commit": closed["committed"]["phase"],
        "questions_answered_otherwise_after_commit": closed["changed"],
        "phase_after_rollback": closed["closed"]["phase"],
        "answers_equal_after_rollback": closed["same"],
        "vector_files_equal_after_rollback": closed["files"],
        "check_ok": closed["sound"],
    }


def main(options: argparse.Namespace) -> None:
    if options.folder is None:
        with tempfile.TemporaryDirectory() as scratch:
            out = accept(options, Path(scratch))
    else:
        options.folder.mkdir(parents=True, exist_ok=True)
        out = accept(options, options.folder)
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
    parser.add_argument("--folder", type=Path, default=None, help="keeps what is done; left out, nothing is kept")
    main(parser.parse_args())
