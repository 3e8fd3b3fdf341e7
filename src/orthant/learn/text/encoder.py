"""Text models with one vector per text: made from parts, and any saved text model loaded again."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling as PlainPooling
from sentence_transformers.util import import_from_string

from orthant.errors import InputError, StoreCorruptedError, message
from orthant.learn.text.backbone import check_folder, load_backbone, quiet_loading, require_both_ways
from orthant.learn.text.modules import PoolingModule, ReducerModule
from orthant.nn.poolings import Pooling, make_pooling
from orthant.validate import check_count

__all__ = ["build_text_encoder", "load_text_model", "make_dense", "resolve_backbone"]

# Poolings that the library has itself: a model with one of them loads anywhere, without Orthant.
_PLAIN = {"mean": "mean", "weighted_mean": "weightedmean", "max": "max", "cls": "cls", "last": "lasttoken"}
_OWN = {f"{one.__module__}.{one.__name__}": one for one in (PoolingModule, ReducerModule)}
_LIBRARY = "sentence_transformers."


def build_text_encoder(
    backbone: str | Path | Transformer,
    *,
    pooling: str | Mapping[str, Any] | Pooling = "mean",
    projection: int | None = None,
    normalize: bool = True,
    include_prompt: bool = True,
    max_tokens: int | None = None,
    prompts: Mapping[str, str] | None = None,
    device: str | None = None,
    seed: int = 0,
) -> SentenceTransformer:
    """Make a model that turns a text into one vector: transformer, pooling, perhaps a projection, unit length.

    Parameters
    ----------
    backbone : str, Path or sentence_transformers.base.modules.Transformer
        What `load_backbone` returned, or a folder for it.
    pooling : str, mapping or Pooling, default "mean"
        What `orthant.nn.make_pooling` takes, or a pooling. ``"mean"`` suits models that look both ways, ``"last"`` and
        ``"weighted_mean"`` causal ones, ``"latent_attention"`` large decoders that are trained further.
    projection : int, optional
        Width of a linear layer behind the pooling, with bias and random weights.
    normalize : bool, default True
        Bring vectors to unit length, so that the dot product is the cosine.
    include_prompt : bool, default True
        Pool the prompt's tokens too; see `PoolingModule`.
    max_tokens : int, optional
        Longest input in tokens; left out, that of the backbone.
    prompts : mapping of str to str, optional
        Texts put before the input, by name: ``"query"`` and ``"document"`` are chosen by role.
    device : str, optional
        Such as ``"cuda"``; left out, the library chooses.
    seed : int, default 0
        Of the weights that pooling and projection start from.

    Returns
    -------
    sentence_transformers.SentenceTransformer
        Saved with ``save_pretrained``; trained with its trainer; served with `orthant.encoders.load_encoder`.

    Raises
    ------
    DimensionError
        A pooling for another width.
    InputError
        An unknown pooling, or a value out of range.
    NotFoundError
        No such folder.

    Notes
    -----
    With the poolings ``"mean"``, ``"weighted_mean"``, ``"max"``, ``"cls"`` and ``"last"`` over all tokens the saved
    folder holds modules of sentence-transformers alone. Others load with `load_text_model`.

    References
    ----------
    Reimers, Gurevych: Sentence-BERT. arXiv 1908.10084, section 3.

    Examples
    --------
    >>> from tokenizers import Tokenizer, models, pre_tokenizers
    >>> from transformers import BertConfig, PreTrainedTokenizerFast
    >>> words = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, "a": 2, "cat": 3}, unk_token="[UNK]"))
    >>> words.pre_tokenizer = pre_tokenizers.Whitespace()
    >>> tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]")
    >>> config = BertConfig(
    ...     vocab_size=8, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    ... )
    >>> model = build_text_encoder(load_backbone(config, tokenizer=tokenizer), projection=4, device="cpu")
    >>> model.encode(["a cat", "a"], show_progress_bar=False).shape
    (2, 4)
    """
    transformer = resolve_backbone(backbone, max_tokens)
    width = transformer.get_embedding_dimension()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        modules: list[torch.nn.Module] = [transformer, _pooling(pooling, width, include_prompt=include_prompt)]
        if projection is not None:
            modules.append(make_dense(modules[-1].get_embedding_dimension(), projection, bias=True))  # type: ignore[operator]
    if normalize:
        modules.append(Normalize())
    return SentenceTransformer(modules=modules, prompts=dict(prompts or {}), device=device).eval()


def resolve_backbone(backbone: str | Path | Transformer, max_tokens: int | None) -> Transformer:
    """Return a backbone with the window asked for, loading a folder first.

    Parameters
    ----------
    backbone : str, Path or sentence_transformers.base.modules.Transformer
        The backbone or its folder.
    max_tokens : int or None
        Longest input in tokens; None leaves it.

    Returns
    -------
    sentence_transformers.base.modules.Transformer
        The backbone; one that was given is changed in place.

    Raises
    ------
    InputError
        A window beyond the model's, or something that is no backbone.
    NotFoundError
        No such folder.
    """
    if isinstance(backbone, (str, Path)):
        return load_backbone(backbone, max_tokens=max_tokens)
    if not isinstance(backbone, Transformer):
        raise InputError(
            message(f"a {type(backbone).__name__}", "a folder or what load_backbone returned", "load it first")
        )
    if max_tokens is not None:
        longest = getattr(backbone.auto_model.config, "max_position_embeddings", None)
        backbone.max_seq_length = check_count(max_tokens, name="max_tokens", minimum=3, maximum=longest or None)
    return backbone


def make_dense(dim_in: int, dim_out: int, *, bias: bool, feature: str = "sentence_embedding") -> Dense:
    """Return a linear layer as a module of sentence-transformers, without activation.

    Parameters
    ----------
    dim_in, dim_out : int
        Widths, at least 1.
    bias : bool
        Add a constant vector.
    feature : str, default "sentence_embedding"
        What of the features is mapped, in place.

    Returns
    -------
    sentence_transformers.base.modules.Dense
        With random weights.

    Raises
    ------
    InputError
        A width below 1.
    """
    return Dense(
        dim_in,
        check_count(dim_out, name="dimension"),
        bias=bias,
        activation_function=None,
        module_input_name=feature,
    )


def _pooling(pooling: str | Mapping[str, Any] | Pooling, width: int, *, include_prompt: bool) -> torch.nn.Module:
    made = pooling if isinstance(pooling, Pooling) else make_pooling(pooling, dim=width)
    kind = made.config()["kind"]
    # The library's own pooling lets a text that is all prompt pass as a zero vector; ours refuses it.
    if kind in _PLAIN and include_prompt:
        return PlainPooling(width, _PLAIN[kind])
    return PoolingModule(made, width, include_prompt=include_prompt)


def load_text_model(folder: str | Path, *, device: str | None = None) -> Any:
    """Load a saved text model, with one vector per text or per token, without running any code that it brings.

    Parameters
    ----------
    folder : str or Path
        What ``save_pretrained`` wrote. Its modules are those of sentence-transformers and of this package.
    device : str, optional
        Such as ``"cuda"``; left out, the library chooses.

    Returns
    -------
    sentence_transformers.SentenceTransformer or sentence_transformers.MultiVectorEncoder
        Equal to the saved model, in evaluation mode.

    Raises
    ------
    NotFoundError
        No such folder; nothing is ever downloaded.
    InputError
        A module of another package, a folder without modules, or a decoder that should look both ways and does not.
    StoreCorruptedError
        Damaged settings or weights.
    """
    root = check_folder(folder)
    entries = _read_json(root / "modules.json")
    if not isinstance(entries, list) or not entries:
        raise InputError(
            message(
                f"{root} without modules.json",
                "a saved sentence-transformers model",
                "use build_text_encoder for a bare transformer",
            )
        )
    settings = _read_json(root / "config_sentence_transformers.json") or {}
    with quiet_loading():
        modules = OrderedDict((str(entry["name"]), _load_module(root, entry)) for entry in entries)
    model = _model_class(str(settings.get("model_type", "SentenceTransformer")))(
        modules=modules,
        prompts={name: text for name, text in (settings.get("prompts") or {}).items() if text is not None},
        default_prompt_name=settings.get("default_prompt_name"),
        similarity_fn_name=settings.get("similarity_fn_name"),
        device=device,
    )
    model.module_kwargs = OrderedDict((str(entry["name"]), entry.get("kwargs", [])) for entry in entries)
    first = model[0]
    if isinstance(first, Transformer) and getattr(first.auto_model.config, "is_causal", None) is False:
        require_both_ways(first)
    return model.eval()


def _model_class(name: str) -> Any:
    if name == "SentenceTransformer":
        return SentenceTransformer
    if name == "MultiVectorEncoder":
        from sentence_transformers import MultiVectorEncoder

        return MultiVectorEncoder
    raise InputError(
        message(f"a model of type {name!r}", "SentenceTransformer or MultiVectorEncoder", "load it with its own class")
    )


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise StoreCorruptedError(message(f"{path} that is not JSON", "JSON", "restore the file")) from error


def _load_module(root: Path, entry: Mapping[str, Any]) -> torch.nn.Module:
    from safetensors import SafetensorError

    reference, subfolder = str(entry.get("type", "")), str(entry.get("path", ""))
    if Path(subfolder).is_absolute() or ".." in Path(subfolder).parts:
        raise InputError(message(f"a module at {subfolder!r}", "a folder inside the model", "check modules.json"))
    kind: Any = _OWN.get(reference)
    if kind is None and reference.startswith(_LIBRARY):
        try:
            kind = import_from_string(reference)
        except ImportError:
            kind = None
    if kind is None:
        raise InputError(
            message(
                f"a module of class {reference!r} in {root}",
                "modules of sentence-transformers or of Orthant",
                "if you trust the folder, load it with SentenceTransformer(folder, trust_remote_code=True)",
            )
        )
    try:
        return kind.load(str(root), subfolder=subfolder, local_files_only=True, trust_remote_code=False)
    except InputError:
        raise
    except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
        raise StoreCorruptedError(
            message(f"{root / subfolder}, where loading failed: {error}", "a complete module", "restore the folder")
        ) from error
