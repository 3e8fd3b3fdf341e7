"""A sentence encoder in a tenth of its bytes, taught by itself, checked, and served without torch."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from orthant.artifact import check_new_folder, staged_folder, write_bytes_atomically
from orthant.encoders.bert_backends import load_token_model
from orthant.encoders.bert_weights import canonical_tensor_name
from orthant.encoders.pipeline.compressed import COMPRESSED_FILE, write_compressed
from orthant.encoders.transformer import TransformerEncoder
from orthant.encoders.transformer_folder import TransformerFolder, read_transformer_folder
from orthant.errors import InputError, message
from orthant.learn.compression.course import Compression, compress
from orthant.learn.compression.imitation import Imitation, load_transformer, token_table
from orthant.learn.compression.policy import LowRankVQ, Policy
from orthant.learn.export.encoder import copy_settings
from orthant.learn.export.report import Agreement, check_texts_for, compare_vectors
from orthant.types import FloatArray
from orthant.validate import as_texts, check_count, check_fraction

__all__ = ["DEFAULT_POLICY", "TextCompression", "compress_text_encoder"]

DEFAULT_POLICY: dict[str, LowRankVQ | None] = {
    "*token_type_embeddings": None,
    "*position_embeddings": LowRankVQ(block=4),
    "*word_embeddings": LowRankVQ(block=6, scaled=True),
    "*": LowRankVQ(block=2),
}
"""4 bits for weights of layers, 8 / 6 for the table of words: under 8 MB for a BERT of 6 layers of 384."""

_MAX_DIFFERENCE = 1e-4
_HELD_OUT = 200
# The tokenizer has the same words; neither it nor the model's history is read again.
_NOT_SERVED = ("vocab.txt", "data_config.json")


@dataclass(frozen=True)
class TextCompression:
    """What ``compress_text_encoder`` made.

    Attributes
    ----------
    path : str
        The folder.
    nbytes, bytes_before : int
        Bytes of all files of the folder, and of the weights that it was made of.
    served : Agreement
        Served copy against the trained model: the same but for rounding.
    kept : Agreement
        Served copy against the model before, on texts that took no part in the training.
    fingerprint : str
        Of the new encoder; never that of the old one.
    """

    path: str
    nbytes: int
    bytes_before: int
    served: Agreement
    kept: Agreement
    fingerprint: str

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values.

        Returns
        -------
        dict
            All attributes, nested.
        """
        return asdict(self)


def compress_text_encoder(
    folder: str | Path,
    out: str | Path,
    texts: Sequence[str],
    *,
    policy: Policy | None = None,
    steps: int = 100,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
    observed: int = 256,
    max_tokens: int = 64,
    min_cosine: float = 0.5,
    seed: int = 0,
    threads: int | None = None,
    progress: bool = False,
) -> TextCompression:
    """Write a smaller copy of a BERT sentence encoder, which `load_encoder` serves without torch.

    Where bytes on disk or over a network count: the copy is decoded when it is loaded, and runs as fast and in as much
    memory as before. Its vectors are others: encode documents and queries with the same copy. int8 of
    `export_encoder` keeps more at a quarter of the bytes and needs no training.

    Parameters
    ----------
    folder : str or Path
        A sentence-transformers or plain folder of a BERT model with ``model.safetensors``.
    out : str or Path
        A new or empty folder.
    texts : sequence of str
        At least 20; what the encoder is for, without labels. A tenth, 200 at most, is held out for the report.
    policy : LowRankVQ or mapping, optional
        As for `compress`; ``DEFAULT_POLICY`` where left out.
    steps : int, default 100
        Updates after clustering, and as many before it where a rank is below its block. 0 trains nothing.
    batch_size : int, default 32
        Texts of a step.
    learning_rate : float, default 1e-3
        Peak rate, for codewords above all. Too large a rate loses what the codes had; too small a one changes nothing.
    observed : int, default 256
        Texts whose activations codes are chosen for; 0 chooses them by weights alone.
    max_tokens : int, default 64
        Tokens of a text in training. Serving reads the whole window.
    min_cosine : float, default 0.5, range -1 to 1
        A copy is refused whose vectors of held-out texts have a mean cosine to the model's below.
    seed : int, default 0
        Of everything random.
    threads : int, optional
        Threads that torch uses.
    progress : bool, default False
        Show a bar on stderr.

    Returns
    -------
    TextCompression
        Also in the folder, as ``compression.json``.

    Raises
    ------
    NotFoundError
        No such model.
    InputError
        Another architecture than BERT, too few texts, a target with content, a policy that does not fit, or a copy that
        is too far from the model. Nothing is left behind.

    Notes
    -----
    The loss is the mean, over the states of all layers, of their squared difference to those of the model before,
    relative to their squares, plus one minus the cosine of the means over tokens. All that is not coded is kept in
    float16, and trained too. Cost: 3 passes of the model, and one of the model before, for each step.

    References
    ----------
    Zhu, Wang, Cheng, Gao: Learning low-rank representations for model compression. arXiv 2211.11397, section 3.
    Jiao et al.: TinyBERT. Findings of EMNLP 2020, section 3 (states of all layers as targets).

    Examples
    --------
    >>> from orthant.encoders.transformer import minilm_folder
    >>> compress_text_encoder(minilm_folder(), minilm_folder(), ["too", "few"])
    Traceback (most recent call last):
    orthant.errors.InputError: Got 2 texts; expected 20 at least. Pass more of the texts that the encoder is for.
    """
    given = as_texts(texts)
    if len(given) < 20:
        remedy = "pass more of the texts that the encoder is for"
        raise InputError(message(f"{len(given)} texts", "20 at least", remedy))
    check_count(steps, name="steps", minimum=0)
    check_count(observed, name="observed", minimum=0)
    check_fraction(min_cosine, name="min_cosine", low=-1.0)
    target, source = check_new_folder(out), _readable(folder)
    check_count(max_tokens, name="max_tokens", minimum=3, maximum=source.max_tokens)
    held = given[-min(_HELD_OUT, max(1, len(given) // 10)) :]
    model = load_transformer(source.path)
    teaching = Imitation(
        model,
        token_table(source.tokenizer, given[: -len(held)], max_tokens=max_tokens),
        steps=steps,
        batch_size=check_count(batch_size, name="batch_size"),
        learning_rate=learning_rate,
        observed=observed,
        seed=seed,
        threads=threads,
        progress=progress,
    )
    chosen = DEFAULT_POLICY if policy is None else policy
    settings = [chosen] if isinstance(chosen, LowRankVQ) else chosen.values()
    lossy = any(one is not None and one.width < one.block for one in settings)
    made = compress(
        model,
        chosen,
        train=teaching.train if lossy else None,
        tune=teaching.train,
        observe=teaching.observe if observed else None,
        seed=seed,
    )
    with staged_folder(target) as staging:
        return _written(made, source, Path(folder), staging, target, held, min_cosine)


def _readable(folder: str | Path) -> TransformerFolder:
    source = read_transformer_folder(folder)
    if not source.is_built or source.is_compressed:
        given = f"a model of architecture {source.architecture}" + " in codes" * source.is_compressed
        raise InputError(message(given, "BERT with GELU and model.safetensors", "compress its parts with compress"))
    return source


def _written(
    made: Compression,
    source: TransformerFolder,
    root: Path,
    staging: Path,
    target: Path,
    held: list[str],
    min_cosine: float,
) -> TextCompression:
    copy_settings(root, staging, weights=True)
    for name in _NOT_SERVED:
        (staging / name).unlink(missing_ok=True)
    place = staging / source.path.relative_to(root)
    others = {canonical_tensor_name(name): array for name, array in made.others().items()}
    kept_whole = {name: array for name, array in others.items() if name is not None}
    write_compressed(place / COMPRESSED_FILE, made.matrices(), kept_whole)
    served = _agreement(made, read_transformer_folder(staging))
    if not served.max_difference <= _MAX_DIFFERENCE:
        given = f"a copy whose states differ by {served.max_difference:.2g} from the trained model's"
        raise InputError(message(given, f"{_MAX_DIFFERENCE:g} at most", "report this model: its copy would be wrong"))
    copied, before = (TransformerEncoder.load(one, backend="numpy") for one in (staging, root))
    kept = compare_vectors(_quiet(copied, held), _quiet(before, held))
    if not kept.cosine_mean >= min_cosine:
        given = f"a copy with a mean cosine of {kept.cosine_mean:.3f} to the model"
        raise InputError(message(given, f"min_cosine={min_cosine:g}", "train for more steps, or take smaller blocks"))
    record = {"served": asdict(served), "kept": asdict(kept), "fingerprint": copied.fingerprint}
    write_bytes_atomically(staging / "compression.json", json.dumps(record, indent=2).encode())
    size = sum(path.stat().st_size for path in staging.rglob("*") if path.is_file())
    weights = source.weights or source.path
    return TextCompression(str(target), size, weights.stat().st_size, served, kept, copied.fingerprint)


def _quiet(encoder: TransformerEncoder, texts: list[str]) -> FloatArray:
    with warnings.catch_warnings():
        # Texts beyond the window are cut alike in both.
        warnings.simplefilter("ignore", UserWarning)
        return encoder.encode(texts)


def _agreement(made: Compression, copied: TransformerFolder) -> Agreement:
    """Compare states of the served copy with torch's, whose numbers are rounded as they are stored."""
    model = made.restore()
    coded = {f"{layer}.weight" for layer in made.layers}
    with torch.no_grad():
        for name, value in [*model.named_parameters(), *model.named_buffers()]:
            if value.is_floating_point() and name not in coded:
                value.copy_(value.half().float())
    table = token_table(copied.tokenizer, check_texts_for(copied.max_tokens), max_tokens=copied.max_tokens)
    ids, mask = table["ids"], table["mask"]
    with torch.inference_mode():
        out = model(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)).last_hidden_state
    served = load_token_model("numpy", copied, "", threads=None, device=None).states(ids, mask)
    seen = mask.astype(bool)
    return compare_vectors(served[seen], np.asarray(out.numpy()[seen], dtype=np.float32))
