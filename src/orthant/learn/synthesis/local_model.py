"""Texts from a causal language model in a folder on this machine, through transformers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orthant.errors import InputError, MissingExtraError, NotFoundError, message
from orthant.learn.synthesis.generator import Generated, check_request, cut_at
from orthant.validate import check_count

__all__ = ["HuggingFaceLocal"]


class HuggingFaceLocal:
    """Write with a transformers model from a folder; nothing is downloaded and no code of the folder is run.

    Parameters
    ----------
    folder : str or Path
        ``config.json``, ``*.safetensors`` and a tokenizer, as ``save_pretrained`` writes them.
    device : str, default "cpu"
        Where the model runs, such as ``"cuda"``.
    batch_size : int, default 8
        Prompts at a time when ``temperature`` is 0. Larger is faster and needs more memory.
    chat : bool, default True
        Write each prompt by the tokenizer's chat template, where it has one.

    Raises
    ------
    NotFoundError
        No model in the folder.
    InputError
        ``batch_size`` below 1.
    MissingExtraError
        transformers or torch are not installed (when the first text is asked for).

    Notes
    -----
    The model is loaded at the first call. With a temperature, each prompt is sampled alone from a seed made of ``seed``
    and the prompt's tokens, so its text depends on neither batch nor order; torch's own generator is left as it was.
    """

    def __init__(self, folder: str | Path, *, device: str = "cpu", batch_size: int = 8, chat: bool = True) -> None:
        self._folder = Path(folder)
        if not (self._folder / "config.json").is_file():
            raise NotFoundError(
                message(f"no config.json in {self._folder}", "a saved transformers model", "check the path")
            )
        self._device = device
        self._batch_size = check_count(batch_size, name="batch_size")
        self._chat = chat
        self._loaded: tuple[Any, Any] | None = None
        self._fingerprint: str | None = None

    def __repr__(self) -> str:
        return f"HuggingFaceLocal({str(self._folder)!r})"

    @property
    def fingerprint(self) -> str:
        """Hash of the weights and of the settings that decide a text."""
        if self._fingerprint is None:
            from orthant.datasets.export import file_sha256

            files = [*sorted(self._folder.glob("*.safetensors")), self._folder / "config.json"]
            self._fingerprint = "local:" + ":".join(file_sha256(path)[:16] for path in files) + f":chat={self._chat}"
        return self._fingerprint

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            try:
                from transformers import AutoModelForCausalLM, AutoTokenizer
            except ImportError as error:
                raise MissingExtraError(
                    message("no transformers", "the extra 'learn'", "pip install 'orthant[learn]'")
                ) from error
            local = {"local_files_only": True, "trust_remote_code": False}
            try:
                tokenizer = AutoTokenizer.from_pretrained(self._folder, padding_side="left", **local)
                model: Any = AutoModelForCausalLM.from_pretrained(self._folder, use_safetensors=True, **local)
            except (OSError, ValueError) as error:
                raise InputError(
                    message(
                        f"{self._folder}, which transformers cannot load ({error})",
                        "a saved causal language model",
                        "save it anew",
                    )
                ) from error
            if tokenizer.pad_token_id is None:
                tokenizer.pad_token = tokenizer.eos_token
            self._loaded = tokenizer, model.to(self._device).eval()
        return self._loaded

    def generate(
        self,
        prompts: Sequence[str],
        *,
        max_tokens: int = 128,
        temperature: float = 0.0,
        seed: int = 0,
        stop: Sequence[str] = (),
    ) -> list[Generated]:
        """Return one text per prompt.

        Parameters
        ----------
        prompts : sequence of str
            None blank; with ``max_tokens`` they must fit into the model's window.
        max_tokens : int, default 128
            Longest text.
        temperature : float, default 0.0
            0 takes the likeliest token each time.
        seed : int, default 0
            Of the sampling.
        stop : sequence of str, default ()
            Strings that end a text.

        Returns
        -------
        list of Generated
            In the order of the prompts.

        Raises
        ------
        InputError
            A blank or too long prompt, or an argument out of range.
        """
        listed, ends = check_request(prompts, max_tokens=max_tokens, temperature=temperature, seed=seed, stop=stop)
        tokenizer, model = self._load()
        written = [self._written(tokenizer, prompt) for prompt in listed]
        window = getattr(model.config, "max_position_embeddings", None)
        lengths = [len(tokenizer(text)["input_ids"]) for text in written]
        for i, length in enumerate(lengths):
            if window is not None and length + max_tokens > window:
                raise InputError(
                    message(
                        f"prompts[{i}] of {length} tokens and max_tokens={max_tokens}",
                        f"together at most {window}",
                        "shorten one",
                    )
                )
        step = self._batch_size if temperature == 0 else 1
        out: list[Generated] = []
        for start in range(0, len(written), step):
            batch = slice(start, start + step)
            out.extend(self._batch(written[batch], lengths[batch], max_tokens, temperature, seed, ends))
        return out

    def _written(self, tokenizer: Any, prompt: str) -> str:
        if not self._chat or not getattr(tokenizer, "chat_template", None):
            return prompt
        messages = [{"role": "user", "content": prompt}]
        return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)

    def _batch(
        self,
        texts: list[str],
        lengths: list[int],
        max_tokens: int,
        temperature: float,
        seed: int,
        stop: tuple[str, ...],
    ) -> list[Generated]:
        import torch

        tokenizer, model = self._load()
        inputs = tokenizer(texts, return_tensors="pt", padding=True).to(self._device)
        inputs.pop("token_type_ids", None)
        options: dict[str, Any] = {"max_new_tokens": max_tokens, "pad_token_id": tokenizer.pad_token_id}
        if stop:
            options |= {"stop_strings": list(stop), "tokenizer": tokenizer}
        # top_k=0 and top_p=1 undo what a folder's generation settings may cut off: the temperature alone decides.
        options |= (
            {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
            if temperature > 0
            else {"do_sample": False}
        )
        with torch.random.fork_rng(), torch.inference_mode():
            if temperature > 0:
                torch.manual_seed(_seed_of(seed, inputs["input_ids"][0].tolist()))
            tokens = model.generate(**inputs, **options)[:, inputs["input_ids"].shape[1] :]
        ends = model.generation_config.eos_token_id
        final = set(ends if isinstance(ends, list) else [] if ends is None else [ends])
        return [_finished(tokenizer, row.tolist(), final, n, stop) for row, n in zip(tokens, lengths, strict=True)]


def _seed_of(seed: int, tokens: list[int]) -> int:
    import numpy as np

    return int(np.random.SeedSequence([seed, *tokens]).generate_state(1, np.uint64)[0] >> 1)


def _finished(
    tokenizer: Any, tokens: list[int], final: set[int], prompt_tokens: int, stop: tuple[str, ...]
) -> Generated:
    length = next((i for i, token in enumerate(tokens) if token in final), len(tokens))
    text, cut = cut_at(tokenizer.decode(tokens[:length], skip_special_tokens=True), stop)
    finish = "stop" if cut or length < len(tokens) else "length"
    return Generated(text, finish, prompt_tokens, length)
