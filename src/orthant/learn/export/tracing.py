"""Graphs of models that are not built layer by layer here: recorded while torch runs them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from orthant.errors import InputError, message

__all__ = ["traced_graph"]

_OPSET = 18
# Within every window, and long enough that the two texts differ in length.
_LENGTH = 12
_EXAMPLES = ["text", "another text that is a little longer than the first"]


class _TokenStates(nn.Module):
    """The transformer alone."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.inner = model[0].auto_model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.inner(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state


class _PooledVectors(nn.Module):
    """The transformer and what stands behind it."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        super().__init__()
        self.inner = nn.ModuleList(modules)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        features: dict[str, Any] = {"input_ids": input_ids, "attention_mask": attention_mask}
        for module in self.inner:
            features = module(features)
        return features["sentence_embedding"]


def traced_graph(model: Any, *, pooled: bool) -> Any:
    """Record a sentence-transformers model as an ONNX graph.

    Parameters
    ----------
    model : SentenceTransformer or MultiVectorEncoder
        In float32 on the CPU.
    pooled : bool
        Record all modules but a last Normalize, and give vectors; otherwise the transformer's token states.

    Returns
    -------
    onnx.ModelProto
        Inputs ``input_ids`` and ``attention_mask`` of shape (n, t), int64; output ``sentence_embedding`` (n, d) or
        ``last_hidden_state`` (n, t, d), float32.

    Raises
    ------
    InputError
        Torch cannot record the model; the text names the class and the reason.

    Notes
    -----
    What is recorded is one run on two short texts, so code that decides by length or content is caught by the check
    that follows, not here.
    """
    import onnx

    children = list(model.children())
    if pooled and type(children[-1]).__name__ == "Normalize":
        children = children[:-1]
    runner: nn.Module = _PooledVectors(children) if pooled else _TokenStates(model)
    output = "sentence_embedding" if pooled else "last_hidden_state"
    given = model.tokenizer(_EXAMPLES, padding=True, truncation=True, max_length=_LENGTH, return_tensors="pt")
    axes = {"input_ids": {0: "n", 1: "t"}, "attention_mask": {0: "n", 1: "t"}}
    runner.eval()
    try:
        with TemporaryDirectory(prefix="orthant-") as place, warnings.catch_warnings(), torch.no_grad():
            # The recorder warns of every branch; whether one mattered is checked on vectors.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                runner,
                (given["input_ids"], given["attention_mask"]),
                str(Path(place) / "graph.onnx"),
                input_names=["input_ids", "attention_mask"],
                output_names=[output],
                dynamic_axes={**axes, output: {0: "n"} if pooled else {0: "n", 1: "t"}},
                opset_version=_OPSET,
                # The newer recorder needs a further package.
                dynamo=False,
            )
            return onnx.load(str(Path(place) / "graph.onnx"))
    except Exception as error:
        # Torch raises many classes here, and the model's own code any.
        names = " + ".join(type(one).__name__ for one in children)
        reason = " ".join(str(error).split())[:300]
        text = f"a model of {names} that torch cannot record as a graph ({type(error).__name__}: {reason})"
        raise InputError(
            message(text, "a model without such code", "serve the model object by load_encoder")
        ) from error
