"""What is to be exported: a folder, and a torch model to compare with where torch is installed."""

from __future__ import annotations

import copy
import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from orthant.encoders.late_interaction.folder import is_token_folder, read_token_folder
from orthant.encoders.pipeline.exported import EXPORT_FILE
from orthant.encoders.pipeline.layouts import token_layout
from orthant.encoders.pipeline.modules import read_module_list
from orthant.encoders.transformer_folder import TransformerFolder, read_transformer_folder
from orthant.errors import InputError, NotFoundError, OrthantError, message

__all__ = ["Source", "open_source"]


@dataclass(frozen=True)
class Source:
    """A model about to be exported.

    Attributes
    ----------
    path : Path
        Its folder, temporary where an object was given.
    model : object or None
        The sentence-transformers model in float32 on the CPU; None where that package is not installed.
    per_token : bool
        It gives one vector per token.
    backbone : TransformerFolder or None
        Its transformer, where every module around it is understood without torch.
    obstacle : OrthantError or None
        Why it is not.
    by_model : bool
        The object says what the vectors are. Not for a folder of PyLate, which sentence-transformers reads by other
        rules: there this package's own encoder of the folder says it.
    """

    path: Path
    model: Any
    per_token: bool
    backbone: TransformerFolder | None
    obstacle: OrthantError | None
    by_model: bool


@contextmanager
def open_source(model: Any) -> Iterator[Source]:
    """Make a folder and an object of whatever was given.

    Parameters
    ----------
    model : str, Path or sentence-transformers model
        A saved folder, or a ``SentenceTransformer`` or ``MultiVectorEncoder``, which is not changed.

    Yields
    ------
    Source
        A temporary folder is removed afterwards.

    Raises
    ------
    NotFoundError
        No such folder.
    InputError
        An object that is no such model, or a folder that was exported already.
    """
    if isinstance(model, (str, os.PathLike)):
        folder = Path(os.fspath(model)).expanduser()
        if not folder.is_dir():
            raise NotFoundError(message(f"no folder {folder}", "a saved model", "check the path"))
        if (folder / EXPORT_FILE).is_file():
            given = f"the folder {folder}, which is an export"
            raise InputError(message(given, "the model that it was made of", "export that one again"))
        yield _described(folder)
        return
    if not callable(getattr(model, "save_pretrained", None)) or not callable(getattr(model, "encode", None)):
        expected = "a folder, a SentenceTransformer or a MultiVectorEncoder"
        raise InputError(message(f"a {type(model).__name__} to export", expected, "pass one of these"))
    # Encoding switches dropout off for good; a training that goes on wants it back.
    training = {module: module.training for module in model.modules()}
    try:
        with TemporaryDirectory(prefix="orthant-") as place:
            single = _single_precision(model)
            single.save_pretrained(place, create_model_card=False, safe_serialization=True)
            yield _described(Path(place), single)
    finally:
        for module, was in training.items():
            module.training = was


def _described(folder: Path, model: Any = None) -> Source:
    layout = token_layout(folder, read_module_list(folder))
    if layout == "stanford":
        given, remedy = f"the ColBERT checkpoint {folder}", "save it with LateInteractionEncoder.save_pylate first"
        raise InputError(message(given, "a model with a list of modules", remedy))
    if model is None and layout != "pylate":
        model = _loaded(folder)
    per_token, backbone, obstacle = layout is not None, None, None
    try:
        backbone = read_token_folder(folder).backbone if per_token else read_transformer_folder(folder)
    except NotFoundError:
        # A missing file is missing for torch as well.
        raise
    except OrthantError as error:
        obstacle = error
    if model is None and layout == "pylate" and obstacle is None and not (backbone and backbone.is_built):
        # Its transformer is recorded while it runs.
        model = _loaded(folder)
    by_model = model is not None and layout != "pylate"
    return Source(folder, model, per_token, backbone, obstacle, by_model)


def _loaded(folder: Path) -> Any:
    if importlib.util.find_spec("sentence_transformers") is None:
        return None
    if not (folder / "config.json").is_file() and not (folder / "modules.json").is_file():
        raise NotFoundError(message(f"no model in {folder}", "config.json or modules.json", "check the path"))
    import sentence_transformers

    name = "MultiVectorEncoder" if is_token_folder(folder) else "SentenceTransformer"
    try:
        if any(str(entry.get("type", "")).startswith("orthant.") for entry in read_module_list(folder)):
            from orthant.learn.text.encoder import load_text_model

            return _single_precision(load_text_model(folder, device="cpu"))
        loaded = getattr(sentence_transformers, name)(str(folder), device="cpu", local_files_only=True)
    except OrthantError:
        raise
    except Exception as error:
        # Whatever the library and the model's own code raise.
        reason = " ".join(str(error).split())[:300]
        given = f"a folder that sentence-transformers cannot load ({type(error).__name__}: {reason})"
        raise InputError(message(given, "a whole model", "load it yourself and pass the object")) from error
    return _single_precision(loaded)


def _single_precision(model: Any) -> Any:
    """The model itself where it is in float32 on the CPU, else a copy that is."""
    import torch

    tensors = list(model.parameters())
    fitting = all(one.dtype == torch.float32 and one.device.type == "cpu" for one in tensors)
    return model if fitting else copy.deepcopy(model).float().cpu()
