"""What a sentence encoder loses in a tenth of its bytes.

    python benchmarks/small_models.py [--steps 100] [--seeds 0 1 2] [--arms NAME ...] [--keep DIR]

MiniLM whole, in int8, and as codes with and without low rank, with and without activations, at equal bytes of codes:
nDCG@10 on four judged sets, cosine to the whole model, and bytes on disk. Texts of the training are of other sets.
"codes", which have the rank of the block, are vector quantization with one book for each weight. "product codes" have a
book for each quarter of the columns: a book for each pair of columns, product quantization to the letter, would take
more bytes than the codes. They get the same scales of rows, choice of codes for the outputs, and training, and no more
bytes: four of the largest layers take 7 bits a code instead of 8, which pays for the books. ``--arms`` measures some
arms and ``--seeds`` some seeds of those with anything random; the others of the result stay as they are. A row is the
mean of its seeds, ``spread`` the standard deviation of their nDCG@10. With ``--keep``, a folder for one setting of
steps, documents and queries, what is done stays there: an interrupted run goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn.utils import parametrize

from orthant.datasets import load, load_retrieval
from orthant.encoders.transformer import TransformerEncoder, minilm_folder
from orthant.encoders.transformer_folder import read_transformer_folder
from orthant.evaluation.judged_vectors import shrink
from orthant.index import Flat
from orthant.kernels.clustering.nearest import nearest
from orthant.learn.compression import LowRankVQ, compress_text_encoder
from orthant.learn.compression.course import input_moments
from orthant.learn.compression.imitation import Imitation, load_transformer, token_table
from orthant.learn.compression.parametrisation import LowRankWeight
from orthant.learn.compression.policy import chosen_layers
from orthant.learn.compression.text import DEFAULT_POLICY
from orthant.learn.export.report import compare_vectors
from orthant.measures import ndcg as ndcg_of
from orthant.quantization.lowrank_fitting import chosen_by_error, codewords

SETS = ("cranfield", "npl", "cosqa", "medquad")
RESULT = Path(__file__).parent / "results" / "small_models.json"
RANK_SHARE = 0.5
BOOKS, HELD = 4, 200
# Layers in the middle: a model is more sensitive at its ends.
PRODUCT_POLICY: dict[str, LowRankVQ | None] = {
    "*layer.[1-4].intermediate.dense": LowRankVQ(k=128, block=2),
    **DEFAULT_POLICY,
}


def texts(count: int, seed: int) -> list[str]:
    """Short texts of sets that are not judged here."""
    found = [one["text"] for one in load("minilm_short_texts").base_records if one["source"] != "medquad"]
    return [found[i] for i in np.random.default_rng(seed).permutation(len(found))[:count]]


def low_rank() -> dict[str, LowRankVQ | None]:
    """The default policy with half the rank where a block has room for it."""
    return {
        name: one and replace(one, rank=max(1, int(one.block * RANK_SHARE))) for name, one in DEFAULT_POLICY.items()
    }


class ProductWeight(LowRankWeight):
    """A weight in codes with books for groups of neighbouring columns; all else as for one book."""

    def forward(self, narrow: Any) -> Any:
        """The weight, as the layer uses it."""
        if self.codebook is None:
            return super().forward(narrow)
        rows = torch.nn.functional.embedding(self.codes, self.codebook).reshape(self.shape[0], -1)
        return (rows if self.scales is None else rows * self.scales[:, None]).reshape(self.shape)

    @torch.no_grad()
    def cluster(self, narrow: Any, *, moments: Any = None, iterations: int = 15, seed: int = 0) -> None:
        """Codewords of each group of columns, and codes."""
        blocks = np.ascontiguousarray(narrow.numpy()).reshape(self.shape[0], -1, self.setting.block)
        group = np.arange(blocks.shape[1]) * BOOKS // blocks.shape[1]
        parts = [np.ascontiguousarray(blocks[:, group == b].reshape(-1, blocks.shape[2])) for b in range(BOOKS)]
        words = np.stack([codewords(part, self.setting.k, iterations=iterations, seed=seed) for part in parts])
        if moments is None:
            labels = np.empty(blocks.shape[:2], dtype=np.int64)
            for b, part in enumerate(parts):
                labels[:, group == b] = nearest(part, words[b]).reshape(len(blocks), -1)
        else:
            lift = np.eye(blocks.shape[2], dtype=np.float32)
            labels = chosen_by_error(blocks.reshape(len(blocks), -1), words, lift, moments)
        self.codebook = torch.nn.Parameter(torch.from_numpy(words.reshape(-1, blocks.shape[2])))
        self.codes = torch.from_numpy((labels + group * self.setting.k).reshape(-1))


def more_bytes(weight: ProductWeight, plain: LowRankVQ) -> int:
    """Bytes that a weight in product codes takes beyond one in codes of one book."""
    blocks, setting = int(np.prod(weight.shape)) // plain.block, weight.setting
    books = 2 * plain.block * (BOOKS * setting.k - plain.k)
    return books + blocks * (int(np.log2(setting.k)) - int(np.log2(plain.k))) // 8


def product_coded(out: Path, given: list[str], steps: int, codes_bytes: int, seed: int) -> int:
    """Write a copy of MiniLM in product codes, decoded; return what the codes take: one book and the others."""
    source = read_transformer_folder(minilm_folder())
    model = load_transformer(source.path)
    table = token_table(source.tokenizer, given[:-HELD], max_tokens=64)
    teaching = Imitation(
        model, table, steps=steps, batch_size=32, learning_rate=1e-3, observed=256, seed=seed, threads=None,
        progress=True,
    )  # fmt: skip
    plain, chosen = chosen_layers(model, DEFAULT_POLICY), chosen_layers(model, PRODUCT_POLICY)
    settings = {name: setting for name, (_, setting) in plain.items()}
    weights = {name: ProductWeight(layer.weight, setting) for name, (layer, setting) in chosen.items()}
    for name, (layer, _) in chosen.items():
        parametrize.register_parametrization(layer, "weight", weights[name])
    linear = [name for name, (layer, _) in chosen.items() if isinstance(layer, torch.nn.Linear)]
    moments = input_moments(model, linear, teaching.observe)
    more = 0
    for name, weight in weights.items():
        original = chosen[name][0].parametrizations.weight.original
        weight.cluster(original, moments=moments.get(name), seed=seed)
        original.requires_grad_(False)
        more += more_bytes(weight, settings[name])
    teaching.train(model, out.with_name(f"{out.name}-checkpoints"))
    for layer, _ in chosen.values():
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    with torch.no_grad():
        # As small as codes are kept: float16.
        half = {name: value.half().float().contiguous() for name, value in model.state_dict().items()}
    part = out.with_name(f"{out.name}-part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(minilm_folder(), part)
    save_file(half, part / source.path.relative_to(minilm_folder()) / "model.safetensors", metadata={"format": "pt"})
    # Last, so that a folder of this name is whole.
    part.rename(out)
    return codes_bytes + more


def ndcg(encoder: TransformerEncoder, name: str, documents: int, queries: int) -> float:
    """Mean over the judged queries that a fixed draw keeps."""
    judged = shrink(load_retrieval(name), documents=documents, queries=queries)
    rows = encoder.encode([one.content for one in judged.corpus], role="document")
    index = Flat(encoder.dim, "cosine")
    index.add(rows)
    asked = encoder.encode(list(judged.queries.values()), role="query")
    found = index.search(asked, 10).ids
    names = [one.id for one in judged.corpus]
    run = {query: [names[i] for i in ids] for query, ids in zip(judged.queries, found, strict=True)}
    return ndcg_of(run, judged.qrels, k=10).mean


ARMS: dict[str, dict[str, Any]] = {
    "codes": {},
    "codes, untrained": {"steps": 0},
    "codes by weights alone": {"observed": 0},
    "codes of half the rank": {"policy": low_rank()},
}
FIXED = ("whole", "int8")


def encoder_of(
    name: str, place: Path, given: list[str], steps: int, seed: int, row: dict[str, Any]
) -> TransformerEncoder:
    """The encoder of an arm, made where it is not yet; its bytes and its cosine to the whole model are noted."""
    if name in FIXED:
        return TransformerEncoder.minilm(backend="onnx-int8" if name == "int8" else "auto")
    folder = place / f"{name.replace(' ', '-').replace(',', '')}-{seed}"
    if "bytes" not in row and name in ARMS:
        shutil.rmtree(folder, ignore_errors=True)
        asked = {"steps": steps, "min_cosine": -1.0, "seed": seed, **ARMS[name]}
        report = compress_text_encoder(minilm_folder(), folder, given, **asked)
        row.update(bytes=report.nbytes, cosine=report.kept.cosine_mean)
    if "bytes" not in row:
        shutil.rmtree(folder, ignore_errors=True)
        codes_bytes = json.loads(RESULT.read_text())["arms"]["codes"]["bytes"]
        size, held = product_coded(folder, given, steps, codes_bytes, seed), given[-HELD:]
        kept = compare_vectors(TransformerEncoder.load(folder).encode(held), TransformerEncoder.minilm().encode(held))
        row.update(bytes=size, cosine=kept.cosine_mean)
    return TransformerEncoder.load(folder)


def over_seeds(rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The mean of an arm's seeds, how far their scores spread, and the seeds themselves."""
    every = list(rows.values())
    out: dict[str, Any] = {
        name: np.mean([row[name] for row in every]).item() for name in ("cosine",) if name in every[0]
    }
    if "bytes" in every[0]:
        out["bytes"] = max(row["bytes"] for row in every)
    out["ndcg@10"] = {one: np.mean([row["ndcg@10"][one] for row in every]).item() for one in SETS}
    if len(every) > 1:
        out["spread"] = np.std([np.mean(list(row["ndcg@10"].values())) for row in every], ddof=1).item()
    return {**out, "seeds": rows}


def measured(name: str, place: Path, given: list[str], options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """The row of an arm with one seed, from where it stopped."""
    note = place / f"{name}-{seed}.json"
    row: dict[str, Any] = json.loads(note.read_text()) if note.exists() else {}
    encoder = encoder_of(name, place, given, options.steps, seed, row)
    note.write_text(json.dumps(row))
    scores = row.setdefault("ndcg@10", {})
    for one in SETS:
        if one not in scores:
            scores[one] = ndcg(encoder, one, options.documents, options.queries)
            note.write_text(json.dumps(row))
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--documents", type=int, default=1_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--arms", nargs="*", default=[], choices=[*ARMS, "product codes", *FIXED])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--keep", type=Path, default=None, help="where an interrupted run goes on")
    options = parser.parse_args()
    out: dict[str, Any] = {"steps": options.steps, "arms": {}}
    if options.arms:
        out = json.loads(RESULT.read_text())
        if out["steps"] != options.steps:
            raise SystemExit(f"the result is of {out['steps']} steps: pass --steps {out['steps']}")
    given = texts(20_000, 0)
    with tempfile.TemporaryDirectory() as passing:
        place = options.keep or Path(passing)
        place.mkdir(parents=True, exist_ok=True)
        for name in options.arms or [*ARMS, "product codes", *FIXED]:
            rows = out["arms"].get(name, {}).get("seeds", {})
            for seed in [0] if name in FIXED else options.seeds:
                rows[str(seed)] = measured(name, place, given, options, seed)
                print(name, seed, rows[str(seed)], flush=True)
                # What is measured counts even where a later arm does not come to an end.
                out["arms"][name] = over_seeds(rows)
                RESULT.write_text(json.dumps(out, indent=2) + "\n")


if __name__ == "__main__":
    main()
