"""Three ways to run a transformer on token ids, with one shape of answer.

``onnx`` needs onnxruntime (and onnx, to build the graph once), ``torch`` needs transformers, ``numpy`` nothing more:
it is the readable reference, about four times slower.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from orthant.encoders.bert_weights import read_weights
from orthant.encoders.onnx_graph import cached_graph, is_cached
from orthant.encoders.transformer_folder import TransformerFolder
from orthant.errors import InputError, MissingExtraError, message
from orthant.threads import default_threads
from orthant.types import FloatArray

__all__ = ["BACKENDS", "TokenModel", "choose_backend", "load_token_model"]

BACKENDS = ("auto", "onnx", "onnx-int8", "torch", "numpy")
_TOKEN_OUTPUTS = ("last_hidden_state", "token_embeddings")
_PLAIN = "a BERT model with GELU and absolute positions, in safetensors"


class TokenModel(Protocol):
    """Token ids to token states."""

    def states(self, ids: npt.NDArray[np.int64], mask: npt.NDArray[np.int64]) -> FloatArray:
        """Return states of shape (n, t, d), float32, for ids and mask of shape (n, t); (n, d) from a pooling graph."""
        ...


def _installed(*names: str) -> bool:
    return all(importlib.util.find_spec(name) is not None for name in names)


def choose_backend(backend: str, folder: TransformerFolder, weight_hash: str) -> str:
    """Settle ``"auto"`` and refuse a backend whose packages are missing.

    Parameters
    ----------
    backend : {"auto", "onnx", "onnx-int8", "torch", "numpy"}
        What was asked; ``"auto"`` takes onnx when it is installed, else torch, or numpy for compressed weights.
    folder : TransformerFolder
        The model: one that is no plain BERT needs a ready ``model.onnx`` or torch.
    weight_hash : str
        Names the cached graph, with which the ``onnx`` package is not needed.

    Returns
    -------
    str
        ``"onnx"``, ``"onnx-int8"``, ``"torch"`` or ``"numpy"``.

    Raises
    ------
    MissingExtraError
        A package is missing; the text names the extra.
    InputError
        The backend cannot run this model.
    """
    if folder.exported is not None:
        return _exported_backend(backend, folder.exported.precision)
    built = folder.is_built
    if backend == "auto":
        if (built or folder.onnx is not None) and _can_onnx(folder, weight_hash, int8=False):
            return "onnx"
        if folder.is_compressed and built:
            return "numpy"
        if folder.weights is not None and not folder.is_compressed and _installed("torch", "transformers"):
            return "torch"
        raise _missing("a transformer needs a runtime", "orthant[onnx], or orthant[learn] with torch", built)
    if backend in ("onnx-int8", "numpy") and not built:
        raise InputError(message(f"backend={backend!r} for {folder.architecture}", _PLAIN, "use 'torch' or 'onnx'"))
    if backend == "onnx" and not built and folder.onnx is None:
        raise InputError(
            message(f"backend='onnx' for {folder.architecture}", f"{_PLAIN}, or a model.onnx", "use 'torch'")
        )
    if backend == "torch" and folder.is_compressed:
        given = "backend='torch' for weights that are codes"
        raise InputError(message(given, "'auto', 'onnx' or 'numpy'", "load the model that was compressed"))
    if backend == "torch" and folder.weights is None:
        raise InputError(message("backend='torch' without model.safetensors", "safetensors weights", "use 'onnx'"))
    if backend.startswith("onnx") and not _can_onnx(folder, weight_hash, int8=backend == "onnx-int8"):
        raise _missing(f"backend={backend!r} without onnxruntime and onnx", "orthant[onnx]", built)
    if backend == "torch" and not _installed("torch", "transformers"):
        raise _missing("backend='torch' without torch and transformers", "orthant[learn]", built)
    return backend


def _exported_backend(backend: str, precision: str) -> str:
    """An exported folder has one graph, and nothing else that could run."""
    own = "onnx-int8" if precision == "int8" else "onnx"
    if backend not in ("auto", own):
        given = f"backend={backend!r} for an encoder exported in {precision}"
        raise InputError(message(given, f"'auto' or {own!r}", "load the model that it was exported from"))
    if not _installed("onnxruntime"):
        raise MissingExtraError(
            message(
                "an exported encoder without onnxruntime", "the extra orthant[onnx]", "run: pip install onnxruntime"
            )
        )
    return own


def _can_onnx(folder: TransformerFolder, weight_hash: str, *, int8: bool) -> bool:
    if not _installed("onnxruntime"):
        return False
    return not folder.is_built or _installed("onnx") or is_cached(folder, weight_hash, int8=int8)


def _missing(given: str, extra: str, built: bool) -> MissingExtraError:
    way = " Or pass backend='numpy', which needs nothing more and is about four times slower." if built else ""
    name = extra.split(",")[0]
    return MissingExtraError(message(given, f"the extra {extra}", f"run: pip install '{name}'") + way)


def load_token_model(
    backend: str, folder: TransformerFolder, weight_hash: str, *, threads: int | None, device: str | None
) -> TokenModel:
    """Load the model under a backend that ``choose_backend`` returned.

    Parameters
    ----------
    backend : {"onnx", "onnx-int8", "torch", "numpy"}
        The runtime.
    folder : TransformerFolder
        The model.
    weight_hash : str
        Names the cached graph.
    threads : int or None
        CPU threads inside one batch; None takes the default of the process.
    device : str or None
        torch only, such as ``"cuda"``.

    Returns
    -------
    TokenModel
        Ready to run; safe to call from several threads.

    Raises
    ------
    InputError
        A setting the backend does not have.
    """
    if device is not None and backend != "torch":
        raise InputError(message(f"device={device!r} with backend={backend!r}", "backend='torch'", "leave device out"))
    if threads is not None and backend == "numpy":
        raise InputError(message("threads with backend='numpy'", "no threads there", "set OPENBLAS_NUM_THREADS"))
    if backend == "numpy":
        return _NumpyModel(folder)
    if backend == "torch":
        return _TorchModel(folder, threads=threads, device=device)
    graph = cached_graph(folder, weight_hash, int8=backend == "onnx-int8") if folder.is_built else folder.onnx
    # Windows go through the int8 graph one at a time, so its threads are used across windows, not within.
    wanted = 1 if backend == "onnx-int8" else threads
    outputs = _TOKEN_OUTPUTS if folder.exported is None else (folder.exported.output,)
    return _OnnxModel(graph or folder.path, threads=wanted, outputs=outputs)


class _OnnxModel:
    def __init__(self, graph: Path | bytes, *, threads: int | None, outputs: Sequence[str]) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = default_threads() if threads is None else threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        source = graph if isinstance(graph, bytes) else str(graph)
        self._session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        self._inputs = {one.name for one in self._session.get_inputs()}
        found = [one.name for one in self._session.get_outputs()]
        wanted = [name for name in outputs if name in found]
        if not wanted or not self._inputs <= {"input_ids", "attention_mask", "token_type_ids"}:
            raise InputError(
                message(
                    f"a graph from {sorted(self._inputs)} to {found}",
                    f"input_ids, attention_mask (token_type_ids) to {' or '.join(outputs)}",
                    "export the encoder for feature extraction",
                )
            )
        self._output = wanted[0]

    def states(self, ids: npt.NDArray[np.int64], mask: npt.NDArray[np.int64]) -> FloatArray:
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        fed = {name: array for name, array in given.items() if name in self._inputs}
        return np.asarray(self._session.run([self._output], fed)[0], dtype=np.float32)


class _TorchModel:
    def __init__(self, folder: TransformerFolder, *, threads: int | None, device: str | None) -> None:
        import torch
        from transformers import AutoModel
        from transformers.utils import logging

        self._torch = torch
        self._threads = threads
        self._device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        shown = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()
        try:
            model = AutoModel.from_pretrained(str(folder.path), local_files_only=True, use_safetensors=True)
        finally:
            if shown:
                logging.enable_progress_bar()
        self._model = model.float().to(self._device).eval()

    def states(self, ids: npt.NDArray[np.int64], mask: npt.NDArray[np.int64]) -> FloatArray:
        torch = self._torch
        before = torch.get_num_threads()
        try:
            # The count belongs to the process, so it is lent, not kept.
            if self._threads is not None:
                torch.set_num_threads(self._threads)
            with torch.inference_mode():
                given = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
                output = self._model(**{name: one.to(self._device) for name, one in given.items()})
                return np.asarray(output.last_hidden_state.cpu().numpy(), dtype=np.float32)
        finally:
            if self._threads is not None:
                torch.set_num_threads(before)


class _NumpyModel:
    """The forward pass of BERT in plain NumPy (Devlin et al., arXiv:1810.04805, section 3)."""

    def __init__(self, folder: TransformerFolder) -> None:
        self._weights = read_weights(folder.weights or folder.path)
        self._heads = int(folder.config["num_attention_heads"])
        self._layers = int(folder.config["num_hidden_layers"])
        self._epsilon = float(folder.config["layer_norm_eps"])

    def states(self, ids: npt.NDArray[np.int64], mask: npt.NDArray[np.int64]) -> FloatArray:
        w = self._weights
        x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][: ids.shape[1]]
        x = self._norm(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        bias = np.where(mask[:, None, None, :] > 0, np.float32(0), np.float32(-1e4))
        for layer in range(self._layers):
            name = f"encoder.layer.{layer}"
            mixed = self._linear(self._attend(x, bias, f"{name}.attention.self"), f"{name}.attention.output.dense")
            x = self._norm(x + mixed, f"{name}.attention.output.LayerNorm")
            inner = _gelu(self._linear(x, f"{name}.intermediate.dense"))
            x = self._norm(x + self._linear(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")
        return x

    def _attend(self, x: FloatArray, bias: FloatArray, name: str) -> FloatArray:
        n, t, width = x.shape
        q, k, v = (
            self._linear(x, f"{name}.{part}").reshape(n, t, self._heads, -1).transpose(0, 2, 1, 3)
            for part in ("query", "key", "value")
        )
        scores = q @ k.swapaxes(-1, -2) / np.float32(np.sqrt(width // self._heads)) + bias
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        return (weights @ v).transpose(0, 2, 1, 3).reshape(n, t, width)

    def _linear(self, x: FloatArray, name: str) -> FloatArray:
        return x @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]

    def _norm(self, x: FloatArray, name: str) -> FloatArray:
        centred = x - x.mean(axis=-1, keepdims=True)
        scale = np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + np.float32(self._epsilon))
        return centred / scale * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]


def _gelu(x: FloatArray) -> FloatArray:
    from scipy.special import erf

    return x * np.float32(0.5) * (1 + erf(x * np.float32(1 / np.sqrt(2))))
