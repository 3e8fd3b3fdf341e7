"""The `bebr` row of the catalogue: arXiv 2302.08714."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.papers.record import Claim, Figures, Paper, Trial

Array = npt.NDArray[Any]

_ROWS = 10_000
_FIT = 20_000
_QUERIES = 1_500
_BYTES = 32
# A scan keeps two bytes of length for each code of more than one bit; they count.
_DIM = (_BYTES - 2) * 4
_SIGNS = 8 * _BYTES
_HALVED_WORDS = 16
# Of the alternative's map, the best of four on development seeds, and that of the codes' own map. Codes alone gain
# nothing from rates above 1e-3.
_RATES = (3e-2,)
_TRAINING: dict[str, Any] = {"hidden": 0, "epochs": 5, "batch_size": 512, "learning_rate": 2e-4, "threads": 1}


def _codes_against_codes(seed: int) -> Trial:
    """Recall@10 of the vectors' own neighbours where queries are coded too, at 32 bytes for each vector."""
    from orthant.learn import train_recurrent_binary
    from orthant.quantization import ITQ, ProductQuantizer, RecurrentBinary, SignCodes

    rows, fit, queries = _vectors(seed)
    truth = _nearest(queries, rows)

    def scanned(quantizer: Any) -> Figures:
        from orthant.quantization import CodeScan

        scan = CodeScan(quantizer)
        scan.add(rows)
        return _recall(scan.search(queries, 10, queries="codes", threads=1).ids, truth)

    def decoded(quantizer: Any) -> Figures:
        quantizer.fit(fit)
        seen, asked = (quantizer.decode(quantizer.encode(part)) for part in (rows, queries))
        return _recall(_nearest(asked, seen), truth)

    signs: list[Any] = [SignCodes(dim=_DIM, bits=2, unit=True, seed=seed), ITQ(dim=_DIM, bits=2, unit=True, seed=seed)]
    recurrent = [RecurrentBinary(dim=dim, bits=bits, unit=True, seed=seed) for dim, bits in ((_DIM, 2), (_SIGNS, 1))]
    trained = scanned(train_recurrent_binary(fit, dim=_DIM, bits=2, seed=seed, **_TRAINING))
    return Trial(
        measured={**scanned(recurrent[0].fit(fit)), "recall@10, trained": trained["recall@10"]},
        ablated=scanned(recurrent[1].fit(fit)),
        baseline=scanned(SignCodes(dim=_SIGNS, bits=1, unit=True, seed=seed).fit(fit)),
        alternatives={
            "principal directions, random rotation, 2 bits": scanned(signs[0].fit(fit)),
            "ITQ with 2 bits": scanned(signs[1].fit(fit)),
            "ITQ": scanned(ITQ(dim=_SIGNS, unit=True, seed=seed).fit(fit)),
            "product quantizer, both sides decoded": decoded(
                ProductQuantizer(m=_BYTES, rotation="opq", iterations=8, seed=seed)
            ),
            "8 bits for 32 principal directions": _recall(_nearest(*_reduced(fit, queries, rows)), truth),
        },
    )


def _floats_against_codes(seed: int) -> Trial:
    """Recall@10 of the vectors' own neighbours where only the rows are coded, at 32 bytes."""
    from orthant.quantization import ITQ, ProductQuantizer, RaBitQ, RecurrentBinary, ResidualQuantizer, SignCodes

    rows, fit, queries = _vectors(seed)
    truth = _nearest(queries, rows)

    def scored(quantizer: Any) -> Figures:
        from orthant.kernels.topk import top_k

        return _recall(top_k(quantizer.score(queries, quantizer.encode(rows), metric="cosine"), 10)[0], truth)

    arms: dict[str, Any] = {
        "ITQ with 2 bits": ITQ(dim=_DIM, bits=2, unit=True, seed=seed),
        "ITQ": ITQ(dim=_SIGNS, unit=True, seed=seed),
        "RaBitQ of 224 directions": RaBitQ(dim=224, bits=1, seed=seed),
        "RaBitQ of 112 directions, 2 bits": RaBitQ(dim=112, bits=2, seed=seed),
        "product quantizer with rotation": ProductQuantizer(m=_BYTES, rotation="opq", iterations=8, seed=seed),
        "residual quantizer": ResidualQuantizer(levels=_BYTES, iterations=5, seed=seed),
    }
    return Trial(
        measured=scored(RecurrentBinary(dim=_DIM, bits=2, unit=True, seed=seed).fit(fit)),
        baseline=scored(SignCodes(dim=_SIGNS, bits=1, unit=True, seed=seed).fit(fit)),
        alternatives={name: scored(arm.fit(fit)) for name, arm in arms.items()},
    )


def _pairs(seed: int) -> Trial:
    """Recall@10 of the other half of a text, where codes are trained on halves that belong together; 256 bits."""
    from orthant.learn import train_recurrent_binary
    from orthant.quantization import ITQ, CodeScan, SignCodes

    (left, right), (held_left, held_right) = _halves(seed)
    truth = np.arange(len(held_left))[:, None]

    def found(quantizer: Any, through: Array | None = None) -> Figures:
        rows, asked = (part if through is None else part @ through for part in (held_right, held_left))
        scan = CodeScan(quantizer)
        scan.add(rows)
        ids = scan.search(asked, 10, queries="codes", threads=1).ids
        return {"recall@10": float((ids == truth).any(axis=1).mean())}

    settings = {**_TRAINING, "similarity_weight": 0.0, "learning_rate": 3e-5, "seed": seed}
    start = {**settings, "map_epochs": 0, "learning_rate": 1e-3}
    both = np.concatenate([left, right])
    return Trial(
        measured={
            **found(train_recurrent_binary(left, right, dim=128, bits=2, **settings)),
            "recall@10, codes alone": found(train_recurrent_binary(left, right, dim=128, bits=2, **start))["recall@10"],
        },
        ablated=found(train_recurrent_binary(left, right, dim=256, bits=1, **settings)),
        baseline=found(SignCodes(dim=256, bits=1, unit=True, seed=seed).fit(both)),
        alternatives={
            "principal directions, random rotation, 2 bits": found(
                SignCodes(dim=128, bits=2, unit=True, seed=seed).fit(both)
            ),
            "ITQ with 2 bits": found(ITQ(dim=128, bits=2, unit=True, seed=seed).fit(both)),
            **{
                f"a linear map trained on the same pairs at rate {rate:g}, then ITQ with 2 bits": found(
                    ITQ(dim=128, bits=2, unit=True, seed=seed).fit(both @ linear), linear
                )
                for rate, linear in ((rate, _trained_map(left, right, rate, seed)) for rate in _RATES)
            },
        },
    )


def _trained_map(left: Array, right: Array, rate: float, seed: int) -> Array:
    """A projection to 128 dimensions trained as the codes are, from the same start, without signs."""
    import torch

    from orthant.learn import ContrastiveLoss, ContrastiveSettings, Stage, TorchLoop
    from orthant.quantization import ITQ

    class Objective(torch.nn.Module):
        def __init__(self, model: Any) -> None:
            super().__init__()
            self.model, self.loss = model, ContrastiveLoss(ContrastiveSettings(symmetric=True))

        def forward(self, batch: Any) -> Any:
            return self.loss({"queries": self.model(batch["left"]), "positives": self.model(batch["right"])})

    model = torch.nn.Linear(left.shape[1], 128, bias=False)
    start = ITQ(dim=128, bits=2, unit=True, seed=seed).fit(left).readout_
    with torch.no_grad():
        # At the scale of the codes' own maps, so that a step means as much.
        model.weight.copy_(torch.from_numpy(start / float((left @ start.T).std())))
    stage = Stage(
        "map",
        {"left": left, "right": right},
        Objective,
        epochs=_TRAINING["epochs"],
        batch_size=_TRAINING["batch_size"],
        learning_rate=rate,
        weight_decay=1e-3,
    )
    TorchLoop(model, stage, seed=seed, threads=1).run()
    return np.ascontiguousarray(model.weight.detach().numpy().T)


def _halves(seed: int) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Both halves of texts, as the packaged word table sees them: to train on, and others."""
    from orthant.datasets import load
    from orthant.encoders import StaticEncoder

    found = load("minilm_short_texts")
    rng = np.random.default_rng(seed)
    words = [record["text"].split() for record in found.base_records]
    long = [i for i, text in enumerate(words) if len(text) >= _HALVED_WORDS]
    chosen = [words[i] for i in rng.permutation(long)[: _FIT // 2 + _QUERIES * 2]]
    encoder = StaticEncoder.load()
    # Words in turns, so that both halves are about the whole text.
    left, right = (encoder.encode([" ".join(text[start::2]) for text in chosen]) for start in (0, 1))
    real = (np.linalg.norm(left, axis=1) > 0) & (np.linalg.norm(right, axis=1) > 0)
    left, right = _unit(left[real]), _unit(right[real])
    cut = len(left) - 2 * _QUERIES
    return (left[:cut], right[:cut]), (left[cut:], right[cut:])


def _new_beside_old(seed: int) -> Trial:
    """Recall@10 of an old model's neighbours, searched by codes of a new model's vectors among the old codes."""
    from orthant.kernels.topk import top_k
    from orthant.learn import train_recurrent_binary
    from orthant.quantization import CodeScan, RecurrentBinary

    new, old = _two_models(seed)
    (_, fit, queries), (old_rows, old_fit, old_queries) = new, old
    truth = _nearest(old_queries, old_rows)
    older = RecurrentBinary(dim=128, bits=2, unit=True, seed=seed).fit(old_fit)

    def searched(asked: Array, quantizer: Any) -> Figures:
        scan = CodeScan(quantizer)
        scan.add_codes(older.encode(old_rows), made_by=older)
        return _recall(scan.search(asked, 10, queries="codes", threads=1).ids, truth)

    settings = {**_TRAINING, "hidden": 256, "learning_rate": 1e-3, "dim": 128, "bits": 2, "seed": seed}
    newer = train_recurrent_binary(fit, compatible_with=older, old_documents=old_fit, **settings)
    beside = RecurrentBinary().fit_beside(fit, older, old_fit)
    alone = RecurrentBinary(dim=128, bits=2, unit=True, seed=seed).fit(fit)
    unrelated = alone.symmetric_scores(alone.encode(queries), older.encode(old_rows))
    towards = np.linalg.lstsq(fit, old_fit, rcond=None)[0].astype(np.float32)
    return Trial(
        measured=searched(queries, newer),
        baseline=_recall(top_k(unrelated, 10)[0], truth),
        alternatives={
            "least squares to the old vectors, then the old quantizer": searched(queries @ towards, older),
            "least squares to the old signs, without training": searched(queries, beside),
            "the old model, not replaced": searched(old_queries, older),
        },
    )


def _vectors(seed: int) -> tuple[Array, Array, Array]:
    from orthant.datasets import load

    found = load("minilm_short_texts", texts="drop")
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(found.base), _ROWS + _FIT, replace=False)
    queries = found.queries["in"][rng.choice(len(found.queries["in"]), _QUERIES, replace=False)]
    return _unit(found.base[chosen[:_ROWS]]), _unit(found.base[chosen[_ROWS:]]), _unit(queries)


def _two_models(seed: int) -> tuple[tuple[Array, Array, Array], tuple[Array, Array, Array]]:
    """Rows, training rows and queries as the new model and as the old one sees them."""
    from orthant.datasets import load
    from orthant.encoders import StaticEncoder

    found = load("minilm_short_texts")
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(found.base), _ROWS + _FIT // 2 + 2 * _QUERIES, replace=False)
    texts = [found.base_records[i]["text"] for i in chosen]
    old = StaticEncoder.load().encode(texts)
    real = np.linalg.norm(old, axis=1) > 0
    old, new = _unit(old[real]), _unit(found.base[chosen][real])
    parts = (slice(0, _ROWS), slice(_ROWS, len(old) - _QUERIES), slice(len(old) - _QUERIES, len(old)))
    return tuple(new[part] for part in parts), tuple(old[part] for part in parts)  # type: ignore[return-value]


def _reduced(fit: Array, queries: Array, rows: Array) -> tuple[Array, Array]:
    from orthant.quantization import SQ8
    from orthant.transforms import LeanVec

    lean = LeanVec(dim=_BYTES).fit(fit)
    codes = SQ8().fit(lean.transform(fit))
    return tuple(codes.decode(codes.encode(lean.transform(part))) for part in (queries, rows))  # type: ignore[return-value]


def _nearest(queries: Array, rows: Array) -> Array:
    from orthant.index import Flat

    index = Flat(rows.shape[1], "cosine")
    index.add(rows)
    return index.search(queries, 10).ids


def _recall(found: Array, truth: Array) -> Figures:
    from orthant.measures import recall_at_k

    return {"recall@10": float(recall_at_k(found, truth))}


def _unit(rows: Array) -> Array:
    wide = rows.astype(np.float64)
    return (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float32)


PAPER = Paper(
    key="bebr",
    title="Binary Embedding-based Retrieval at Tencent",
    arxiv="2302.08714",
    year=2023,
    wing="search",
    lives_in=("orthant.quantization.binary", "orthant.learn.distillation"),
    summary=(
        "Turns a float vector into several layers of signs, each layer coding what the previous ones left over, so "
        "the number of bits per dimension becomes a dial. Fits very large corpora where memory is the bill and a "
        "short re-rank is affordable; new versions can be trained to stay comparable with codes already stored. Its "
        "place in Orthant: a binary quantizer with a linear closed form in the core, and a trained variant whose "
        "weights are served without torch."
    ),
    keywords=("binary codes", "residual binarization", "compression", "compatible training", "symmetric distance"),
    status="works",
    claims=(
        Claim(
            name="codes-against-codes",
            sentence=(
                "Where queries are coded as well, at 32 bytes for each sentence vector of 384 dimensions (lengths "
                "counted), how many of the 10 nearest of 10,000 are found by recurrent codes of 2 bits in closed form "
                "(and after training on the vectors alone), beside signs (ablated), grids after a random rotation or "
                "ITQ's, a product quantizer, which is as good, and 8 bits for 32 directions."
            ),
            data="real",
            run=_codes_against_codes,
            metric="recall@10",
            ablation="the residual level: signs of as many bytes",
            needs=("minilm_short_texts",),
            fresh_seeds=(101,),
            trained=False,
        ),
        Claim(
            name="floats-against-codes",
            sentence=(
                "The same vectors and bytes where queries are not coded: recurrent codes in closed form beside RaBitQ, "
                "ITQ, product and residual quantizers, of which the product quantizer finds most."
            ),
            data="real",
            run=_floats_against_codes,
            metric="recall@10",
            needs=("minilm_short_texts",),
            fresh_seeds=(101,),
            trained=False,
        ),
        Claim(
            name="trained-on-pairs",
            sentence=(
                "Trained on halves of texts that belong together (10,000 pairs, vectors of the packaged word table), "
                "codes of 256 bits, 2 for each dimension, find the other half of a held-out text among 3,000 "
                "(recall@10, queries coded too) more often than trained signs (ablated), random signs and untrained "
                "grids, and no more often than a linear map trained on the same pairs before ITQ's grid, which is how "
                "their own training begins; trained as codes alone they find less."
            ),
            data="real",
            run=_pairs,
            metric="recall@10",
            ablation="the residual level: trained signs of as many bits",
            needs=("minilm_short_texts",),
        ),
        Claim(
            name="new-beside-old",
            sentence=(
                "Codes of a new model (MiniLM), trained beside those of an old one (the packaged word table), search "
                "an index of the old codes: recall@10 of the old model's neighbours, beside codes that know nothing of "
                "the old ones, a least-squares map to the old vectors, and the old model itself."
            ),
            data="real",
            run=_new_beside_old,
            metric="recall@10",
            needs=("minilm_short_texts",),
        ),
    ),
)
