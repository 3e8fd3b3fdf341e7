"""Trained encoders as folders that are served by onnxruntime, without torch, and checked against the original."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from orthant.artifact import check_new_folder, staged_folder
from orthant.encoders.bert_weights import read_weights
from orthant.encoders.fingerprint import Fingerprint
from orthant.encoders.late_interaction.encoder import LateInteractionEncoder
from orthant.encoders.onnx_graph import build_bert_graph, quantized_graph
from orthant.encoders.pipeline.exported import EXPORT_GRAPH, Exported, write_exported
from orthant.encoders.pipeline.modules import read_module_list
from orthant.encoders.sentence_transformers import SentenceTransformerEncoder
from orthant.encoders.transformer import TransformerEncoder
from orthant.errors import InputError, MissingExtraError, message
from orthant.learn.export.report import Agreement, ExportReport, check_texts_for, compare_vectors
from orthant.learn.export.source import Source, open_source
from orthant.types import FloatArray, Role
from orthant.validate import as_texts, check_choice, check_fraction

__all__ = ["copy_settings", "export_encoder"]

Precision = Literal["float32", "int8"]
_MAX_DIFFERENCE = 1e-5
_ROLES: tuple[Role, ...] = ("query", "document")
# Settings that the served encoder reads; weights of the transformer are in the graph.
_SETTINGS = ("*.json", "vocab.txt")


def export_encoder(
    model: Any,
    out: str | Path,
    *,
    precision: Precision = "float32",
    check_texts: Sequence[str] | None = None,
    min_cosine: float = 0.9,
) -> ExportReport:
    """Write a trained encoder as a folder that ``load_encoder`` serves without torch, and check that both agree.

    Use it when training is done: the folder holds an ONNX graph, tokenizer, window, prompts and every layer behind the
    pooling, and needs onnxruntime and NumPy only. Late-interaction models give a folder for ``load_token_encoder``.

    Parameters
    ----------
    model : str, Path, SentenceTransformer or MultiVectorEncoder
        A saved folder or the object, which is not changed.
    out : str or Path
        A folder that does not exist yet, or an empty one.
    precision : {"float32", "int8"}, default "float32"
        ``"int8"`` keeps weights in a quarter of the bytes and runs two to three times as fast on a CPU, with slightly
        other vectors: texts must be encoded by the same precision as the queries that search them.
    check_texts : sequence of str, optional
        Texts on which both are compared, in both roles. Left out, fifteen of several scripts and lengths and one
        beyond the window. Texts of your own domain say more about int8.
    min_cosine : float, default 0.9, range -1 to 1
        An int8 copy is refused when the cosine of any vector to the original is below. Higher is stricter; small
        models with random weights may not reach 0.99.

    Returns
    -------
    ExportReport
        Also kept in the folder, as ``export.json``, with the checksums of its files.

    Raises
    ------
    MissingExtraError
        onnx or onnxruntime is not installed.
    NotFoundError
        No such model, or no tokenizer in it.
    InputError
        A target that is not empty, a module that can neither be computed here nor recorded by torch (the text names
        it), or a copy that differs: by more than 1e-5 of the vector's length in float32, or below ``min_cosine`` in
        int8. Nothing is left behind.

    Notes
    -----
    The graph of a plain BERT model is built of its weights; other architectures, such as decoders, are recorded by
    ``torch.onnx`` while they run. Pooling and the layers behind it stay outside the graph in float32 where they are
    understood; otherwise, as with poolings of your own, all is recorded. int8 quantises weights per output channel and
    activations at run time.

    In float32 the copy has the fingerprint of its origin, so it opens the collections that were made with it.

    References
    ----------
    O. Zafrir et al.: Q8BERT: Quantized 8Bit BERT, arXiv:1910.06188, section 2 (8-bit inference of BERT).

    Examples
    --------
    >>> from orthant.encoders.transformer import minilm_folder
    >>> export_encoder(minilm_folder(), minilm_folder())
    Traceback (most recent call last):
    orthant.errors.InputError: Got ..., which is not empty; expected a new or empty folder. Choose another one.
    """
    started = time.perf_counter()
    check_choice(precision, ("float32", "int8"), name="precision")
    check_fraction(min_cosine, name="min_cosine", low=-1.0)
    texts = None if check_texts is None else as_texts(check_texts, name="check_texts")
    if texts is not None and not texts:
        raise InputError(message("no check_texts", "one text at least", "leave check_texts out for a set of them"))
    target = check_new_folder(out)
    for name in ("onnx", "onnxruntime"):
        if importlib.util.find_spec(name) is None:
            given = f"an export without the package {name}"
            raise MissingExtraError(message(given, "the extra orthant[onnx]", "run: pip install 'orthant[onnx]'"))
    with open_source(model) as source, staged_folder(target) as staging:
        report = _export(source, staging, precision, texts, min_cosine)
    return replace(report, path=str(target), seconds=round(time.perf_counter() - started, 3))


def _export(
    source: Source, staging: Path, precision: Precision, texts: list[str] | None, min_cosine: float
) -> ExportReport:
    graph, route, output = _graph(source)
    copy_settings(source.path, staging, weights=output != "sentence_embedding")
    payload = quantized_graph(graph) if precision == "int8" else graph.SerializeToString()
    (staging / EXPORT_GRAPH).write_bytes(payload)
    origin = _origin(source)
    dim = origin.dim
    record = Exported(
        precision=precision,
        output=output,
        dim=dim,
        normalized=Fingerprint.parse(origin.fingerprint).normalization == "l2",
        fingerprint=str(replace(Fingerprint.parse(origin.fingerprint), dtype="float32")),
        versions=_versions(),
    )
    write_exported(staging, record)
    copied = (LateInteractionEncoder if source.per_token else TransformerEncoder).load(staging)
    chosen = check_texts_for(copied.max_tokens or 512) if texts is None else texts
    agreement = _agreement(source, origin, copied, chosen)
    _require(agreement, precision, min_cosine)
    report = ExportReport(
        path=str(staging),
        kind="tokens" if source.per_token else "text",
        precision=precision,
        route=route,
        dim=dim,
        fingerprint=copied.fingerprint,
        source_fingerprint=record.fingerprint,
        reference="torch" if source.by_model else origin.backend,
        texts=len(chosen),
        agreement=agreement,
        graph_bytes=len(payload),
        seconds=0.0,
    )
    kept = {key: value for key, value in report.to_dict().items() if key not in ("path", "seconds", "agreement")}
    write_exported(staging, replace(record, check={**kept, **asdict(agreement)}))
    return report


def _graph(source: Source) -> tuple[Any, str, str]:
    backbone = source.backbone
    if backbone is not None and backbone.is_built:
        weights = read_weights(backbone.weights or backbone.path)
        return build_bert_graph(weights, backbone.config), "built", "last_hidden_state"
    if source.obstacle is not None and (source.model is None or source.per_token):
        raise source.obstacle
    if source.model is None:
        given = f"the model at {source.path} without torch, which would record its graph"
        raise MissingExtraError(message(given, "the extra orthant[learn]", "run: pip install 'orthant[learn]'"))
    from orthant.learn.export.tracing import traced_graph

    pooled = backbone is None
    return traced_graph(source.model, pooled=pooled), "traced", "sentence_embedding" if pooled else "last_hidden_state"


def _origin(source: Source) -> Any:
    """An encoder of the source itself: for its fingerprint, and to compare with where torch is not installed."""
    built = source.backbone is not None and source.backbone.is_built
    if source.per_token:
        return LateInteractionEncoder.load(source.path, backend="numpy" if built else "torch")
    return TransformerEncoder.load(source.path, backend="numpy") if built else SentenceTransformerEncoder(source.model)


def copy_settings(source: Path, staging: Path, *, weights: bool) -> None:
    """Copy what a served encoder reads of a model's folder beside the weights of its transformer.

    Parameters
    ----------
    source, staging : Path
        From where, and to where.
    weights : bool
        Copy the weights of layers behind the pooling too.

    Raises
    ------
    InputError
        A module outside the folder.
    """
    for place in sorted({"", *(str(entry.get("path", "")) for entry in read_module_list(source))}):
        if Path(place).is_absolute() or ".." in Path(place).parts:
            given = f"a module in the folder {place!r}"
            raise InputError(message(given, "a folder inside the model's", "save the model again"))
        folder = source / place
        # A head's weights are layers of their own; the transformer's are in the graph.
        head = weights and place and not (folder / "tokenizer.json").is_file()
        for pattern in (*_SETTINGS, *(["model.safetensors"] if head else [])):
            for path in sorted(folder.glob(pattern)):
                (staging / place).mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, staging / place / path.name)


def _agreement(source: Source, origin: Any, copied: Any, texts: list[str]) -> Agreement:
    found: list[FloatArray] = []
    wanted: list[FloatArray] = []
    with warnings.catch_warnings():
        # One text is too long on purpose.
        warnings.simplefilter("ignore", UserWarning)
        for role in _ROLES:
            reference = _reference(source, origin, texts, role)
            # Alone and in one padded batch.
            for size in (1, len(texts)):
                if source.per_token:
                    made = copied.encode_tokens(texts, role=role, batch_size=size).values
                else:
                    made = copied.encode_with_report(texts, role=role, batch_size=size)[0]
                found.append(made)
                wanted.append(reference)
    return compare_vectors(np.concatenate(found), np.concatenate(wanted))


def _reference(source: Source, origin: Any, texts: list[str], role: Role) -> FloatArray:
    if not source.by_model:
        encoded = origin.encode_tokens(texts, role=role) if source.per_token else origin.encode(texts, role=role)
        return encoded.values if source.per_token else encoded
    encode = getattr(source.model, f"encode_{role}")
    made = encode(texts, batch_size=len(texts), show_progress_bar=False, convert_to_numpy=True)
    return np.asarray(np.concatenate(made) if source.per_token else made, dtype=np.float32)


def _require(agreement: Agreement, precision: Precision, min_cosine: float) -> None:
    if precision == "float32" and not agreement.max_difference <= _MAX_DIFFERENCE:
        given = f"a copy whose vectors differ by {agreement.max_difference:.2g} from the model's"
        remedy = "serve the model object by load_encoder: its code depends on more than its graph can hold"
        raise InputError(message(given, f"{_MAX_DIFFERENCE:g} at most", remedy))
    if precision == "int8" and not agreement.cosine_min >= min_cosine:
        given = f"an int8 copy with a cosine of {agreement.cosine_min:.4f} to the model at worst"
        given += f" ({agreement.cosine_mean:.4f} on average)"
        raise InputError(message(given, f"min_cosine={min_cosine:g}", "export it in float32, or accept a lower one"))


def _versions() -> dict[str, str]:
    out = {}
    for name in ("onnx", "onnxruntime", "torch", "sentence-transformers"):
        try:
            out[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return out
