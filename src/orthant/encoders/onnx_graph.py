"""A BERT encoder as an ONNX graph, built from its weights without torch, and kept in a cache folder.

The graph maps token ids and a mask to token states; pooling stays outside, in one place for every backend.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.artifact import write_bytes_atomically
from orthant.encoders.bert_weights import hash_file, read_weights
from orthant.encoders.transformer_folder import TransformerFolder, architecture_name
from orthant.kernels.compile_cache import cache_base

__all__ = ["build_bert_graph", "cache_folder", "cached_graph", "is_cached", "quantized_graph"]

# Part of the cache key: raise it whenever the graph changes.
GRAPH_VERSION = 1
_OPSET = 20
_IR_VERSION = 10
_MASKED = np.float32(-1e4)


class _GraphWriter:
    """Collects nodes and constants; each method returns the name of its output."""

    def __init__(self, weights: Mapping[str, npt.NDArray[np.float32]]) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, npt.NDArray[Any]] = {}
        self._weights = weights

    def constant(self, name: str, value: npt.ArrayLike) -> str:
        self.constants.setdefault(name, np.asarray(value))
        return name

    def weight(self, name: str) -> str:
        return self.constant(name, self._weights[name])

    def apply(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def linear(self, x: str, name: str, output: str) -> str:
        # torch keeps (out, in); MatMul wants (in, out).
        kernel = self.constant(f"{name}.weight", np.ascontiguousarray(self._weights[f"{name}.weight"].T))
        product = self.apply("MatMul", [x, kernel], f"{output}_product")
        return self.apply("Add", [product, self.weight(f"{name}.bias")], output)

    def layer_norm(self, x: str, name: str, output: str, epsilon: float) -> str:
        inputs = [x, self.weight(f"{name}.weight"), self.weight(f"{name}.bias")]
        return self.apply("LayerNormalization", inputs, output, axis=-1, epsilon=epsilon)


def build_bert_graph(weights: Mapping[str, npt.NDArray[np.float32]], config: Mapping[str, Any]) -> Any:
    """Build the graph of a BERT encoder; needs the ``onnx`` package only.

    Parameters
    ----------
    weights : mapping of str to ndarray of shape (out, in) or (out,), float32
        As ``read_weights`` returns them.
    config : mapping
        The transformers configuration of a plain BERT model.

    Returns
    -------
    onnx.ModelProto
        Inputs ``input_ids`` and ``attention_mask`` of shape (n, t), int64; output ``last_hidden_state`` of shape
        (n, t, d), float32. Opset 20.
    """
    from onnx import TensorProto, helper, numpy_helper

    width, epsilon = int(config["hidden_size"]), float(config["layer_norm_eps"])
    graph = _GraphWriter(weights)
    x = _embed(graph, epsilon)
    mask = graph.apply("Cast", ["attention_mask"], "mask", to=TensorProto.FLOAT)
    hidden = graph.apply("Sub", [graph.constant("one", np.float32(1)), mask], "is_padding")
    low = graph.apply("Mul", [hidden, graph.constant("masked", _MASKED)], "low")
    bias = graph.apply("Unsqueeze", [low, graph.constant("axes_1_2", np.array([1, 2]))], "attention_bias")
    for layer in range(int(config["num_hidden_layers"])):
        x = _layer(graph, x, bias, layer, heads=int(config["num_attention_heads"]), width=width, epsilon=epsilon)
    graph.apply("Identity", [x], "last_hidden_state")
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "t"]) for name in ("input_ids", "attention_mask")
    ]
    output = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["n", "t", width])
    values = [numpy_helper.from_array(value, name) for name, value in graph.constants.items()]
    made = helper.make_graph(graph.nodes, "bert", inputs, [output], values)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)


def _embed(graph: _GraphWriter, epsilon: float) -> str:
    length = graph.apply("Shape", ["input_ids"], "length", start=1, end=2)
    table = graph.weight("embeddings.position_embeddings.weight")
    positions = graph.apply("Slice", [table, graph.constant("start", np.array([0])), length], "positions")
    words = graph.apply("Gather", [graph.weight("embeddings.word_embeddings.weight"), "input_ids"], "words")
    # One text per row, so every token is of the first segment.
    segment = graph.constant("segment", graph._weights["embeddings.token_type_embeddings.weight"][0])
    typed = graph.apply("Add", [words, segment], "typed")
    total = graph.apply("Add", [typed, positions], "summed")
    return graph.layer_norm(total, "embeddings.LayerNorm", "embedded", epsilon)


def _layer(graph: _GraphWriter, x: str, bias: str, layer: int, *, heads: int, width: int, epsilon: float) -> str:
    source, out = f"encoder.layer.{layer}", f"layer{layer}"
    split = graph.constant("split_heads", np.array([0, 0, heads, width // heads]))
    merge = graph.constant("merge_heads", np.array([0, 0, width]))
    parts = {}
    # Keys come out transposed, ready for the product with the queries.
    for part, order in (("query", [0, 2, 1, 3]), ("key", [0, 2, 3, 1]), ("value", [0, 2, 1, 3])):
        flat = graph.linear(x, f"{source}.attention.self.{part}", f"{out}_{part}")
        shaped = graph.apply("Reshape", [flat, split], f"{out}_{part}_heads")
        parts[part] = graph.apply("Transpose", [shaped], f"{out}_{part}_ready", perm=order)
    product = graph.apply("MatMul", [parts["query"], parts["key"]], f"{out}_product")
    scaled = graph.apply(
        "Mul", [product, graph.constant("scale", np.float32((width // heads) ** -0.5))], f"{out}_scaled"
    )
    masked = graph.apply("Add", [scaled, bias], f"{out}_masked")
    attention = graph.apply("Softmax", [masked], f"{out}_attention", axis=-1)
    context = graph.apply("MatMul", [attention, parts["value"]], f"{out}_context")
    rows = graph.apply("Transpose", [context], f"{out}_context_rows", perm=[0, 2, 1, 3])
    merged = graph.apply("Reshape", [rows, merge], f"{out}_merged")
    mixed = graph.linear(merged, f"{source}.attention.output.dense", f"{out}_mixed")
    first = graph.apply("Add", [mixed, x], f"{out}_residual1")
    x = graph.layer_norm(first, f"{source}.attention.output.LayerNorm", f"{out}_norm1", epsilon)
    inner = graph.apply("Gelu", [graph.linear(x, f"{source}.intermediate.dense", f"{out}_inner")], f"{out}_gelu")
    second = graph.apply("Add", [graph.linear(inner, f"{source}.output.dense", f"{out}_outer"), x], f"{out}_residual2")
    return graph.layer_norm(second, f"{source}.output.LayerNorm", f"{out}_norm2", epsilon)


def cache_folder() -> Path:
    """Return the folder for derived model files: ``ORTHANT_CACHE``, or the platform's cache folder for the user.

    Returns
    -------
    Path
        Not necessarily existing. Everything in it can be deleted at any time.
    """
    return cache_base() / "encoders"


def _cached_path(folder: TransformerFolder, weight_hash: str, *, int8: bool) -> Path:
    kind = "int8" if int8 else "fp32"
    return cache_folder() / f"{architecture_name(folder.config)}-{weight_hash}-{kind}-g{GRAPH_VERSION}.onnx"


def is_cached(folder: TransformerFolder, weight_hash: str, *, int8: bool) -> bool:
    """Return whether the graph lies in the cache, whole: then ``onnx`` is not needed.

    Parameters
    ----------
    folder : TransformerFolder
        The model.
    weight_hash : str
        Digest of its weights.
    int8 : bool
        Which of the two graphs.

    Returns
    -------
    bool
        False as well when the file does not have the recorded checksum.
    """
    path = _cached_path(folder, weight_hash, int8=int8)
    try:
        record = json.loads(path.with_suffix(".json").read_text())
        return bool(record["sha256"] == hash_file(path))
    except (OSError, ValueError, KeyError, TypeError):
        # Nothing usable: it is built again, from weights that were verified.
        return False


def cached_graph(folder: TransformerFolder, weight_hash: str, *, int8: bool = False) -> Path | bytes:
    """Return the graph for a folder from the cache, building it on first use.

    Parameters
    ----------
    folder : TransformerFolder
        A plain BERT model with safetensors weights.
    weight_hash : str
        Digest of its weights; names the cached file.
    int8 : bool, default False
        Quantise the weights per output channel, activations at run time.

    Returns
    -------
    Path or bytes
        The verified file; the graph itself when the cache folder cannot be written.

    Notes
    -----
    Cost: about one second for a 90 MB model, once per weights; two more for int8.
    """
    path = _cached_path(folder, weight_hash, int8=int8)
    if is_cached(folder, weight_hash, int8=int8):
        return path
    graph = build_bert_graph(read_weights(folder.weights or folder.path), folder.config)
    payload = quantized_graph(graph) if int8 else graph.SerializeToString()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes_atomically(path, payload)
        write_bytes_atomically(path.with_suffix(".json"), json.dumps({"sha256": hash_file(path)}).encode())
    except OSError:
        return payload
    return path


def quantized_graph(graph: Any) -> bytes:
    """Return a graph with int8 weights per output channel, whose activations are quantised at run time.

    Parameters
    ----------
    graph : onnx.ModelProto
        In float32.

    Returns
    -------
    bytes
        The serialised graph, about a quarter as large.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    # The graph is as plain as the quantiser's own preparation would make it; without this mark it logs advice.
    onnx.helper.set_model_props(graph, {"onnx.quant.pre_process": "onnxruntime.quant"})
    with tempfile.TemporaryDirectory(prefix="orthant-") as folder:
        source, target = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        onnx.save(graph, str(source))
        quantize_dynamic(str(source), str(target), per_channel=True, weight_type=QuantType.QInt8)
        return target.read_bytes()
