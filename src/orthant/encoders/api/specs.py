"""One line for an encoder behind an API, such as ``"openai:text-embedding-3-small"``; a collection remembers it."""

from __future__ import annotations

import os
import urllib.parse
from typing import TYPE_CHECKING, Any

from orthant.errors import InputError, message

if TYPE_CHECKING:
    from orthant.encoders.api.encoder import ApiEncoder

__all__ = ["api_encoder", "is_api_spec", "require_trusted_host"]

_PROVIDERS = ("openai", "cohere", "tei", "ollama")
_NUMBERS = ("dimensions", "max_batch", "max_batch_tokens", "parallel", "requests_per_minute", "tokens_per_minute")
_TEXTS = ("url", "revision", "query_prompt", "document_prompt")
_CACHE_VARIABLE = "ORTHANT_ENCODER_CACHE"
_LOCAL = ("localhost", "127.0.0.1", "::1")


def is_api_spec(spec: Any) -> bool:
    """Return whether a spec names an encoder behind an API.

    Parameters
    ----------
    spec : object
        What a user passed.

    Returns
    -------
    bool
        True for a str that begins with ``openai:``, ``cohere:``, ``tei:`` or ``ollama:``.

    Examples
    --------
    >>> is_api_spec("ollama:nomic-embed-text"), is_api_spec("static")
    (True, False)
    """
    return isinstance(spec, str) and spec.partition(":")[0] in _PROVIDERS and ":" in spec


def api_encoder(spec: str) -> ApiEncoder:
    """Make the encoder that a spec names.

    Parameters
    ----------
    spec : str
        ``"openai:MODEL"``, ``"cohere:MODEL"``, ``"ollama:MODEL"`` or ``"tei:http://HOST:PORT"``. Options may follow as
        in an address: ``"openai:MODEL?dimensions=256&url=http://localhost:8000/v1"``; they are ``url``, ``revision``,
        ``dimensions``, ``query_prompt``, ``document_prompt``, ``max_batch``, ``max_batch_tokens``, ``parallel``,
        ``requests_per_minute`` and ``tokens_per_minute``.

    Returns
    -------
    ApiEncoder
        With the key from ``OPENAI_API_KEY`` or ``CO_API_KEY``, and no key where the spec names an address; with a cache
        in the folder that ``ORTHANT_ENCODER_CACHE`` names, where it is set.

    Raises
    ------
    InputError
        No such form, or an option that is not known. Options are not repeated: a key may be among them.
    EndpointError, NotFoundError, EncoderMismatchError
        As for ``ApiEncoder``.

    Examples
    --------
    >>> api_encoder("openai:some-model?key=123")
    Traceback (most recent call last):
    orthant.errors.InputError: Got the option 'key'; expected one of ... Make an ApiEncoder for everything else.
    """
    from orthant.encoders.api.encoder import ApiEncoder

    provider, name, options = _parsed(spec)
    if provider == "tei":
        from orthant.urls import check_url

        options["url"] = check_url(name)
        name = ""
    cache = os.environ.get(_CACHE_VARIABLE, "").strip() or None
    return ApiEncoder(provider, name or None, cache=cache, **options)


def require_trusted_host(spec: str) -> None:
    """Refuse to contact a host that only a stored spec names.

    Whoever made a collection may have written any address into it; its texts and queries would go there unasked.

    Parameters
    ----------
    spec : str
        As a collection remembers it.

    Raises
    ------
    InputError
        The address is neither a provider's own nor this machine.

    Examples
    --------
    >>> require_trusted_host("openai:text-embedding-3-small")
    >>> require_trusted_host("tei:http://localhost:8080")
    """
    if not is_api_spec(spec):
        return
    provider, name, options = _parsed(spec)
    url = name if provider == "tei" else options.get("url")
    if url is None:
        return
    from orthant.urls import check_url

    host = urllib.parse.urlsplit(check_url(url)).hostname
    if host not in _LOCAL:
        raise InputError(
            message(
                f"a collection whose encoder lives at {host!r}",
                "your consent to send texts there",
                f"open with encoder={spec!r}, or search with mode='lexical'",
            )
        )


def _parsed(spec: str) -> tuple[str, str, dict[str, Any]]:
    provider, _, rest = spec.partition(":")
    name, _, tail = rest.partition("?")
    if provider not in _PROVIDERS or not name.strip():
        raise InputError(
            message(
                f"the encoder {provider + ':'!r} without a name",
                "such as 'openai:text-embedding-3-small', 'ollama:nomic-embed-text' or 'tei:http://localhost:8080'",
                "name the model, or the address of a TEI server",
            )
        )
    options: dict[str, Any] = {}
    for key, value in urllib.parse.parse_qsl(tail, keep_blank_values=True):
        if key not in _NUMBERS + _TEXTS or key in options or (key == "url" and provider == "tei"):
            raise InputError(
                message(
                    f"the option {key!r}",
                    f"one of {', '.join(_NUMBERS + _TEXTS)}, each once",
                    "make an ApiEncoder for everything else",
                )
            )
        options[key] = _number(key, value) if key in _NUMBERS else value
    return provider, name, options


def _number(key: str, value: str) -> int | float:
    try:
        return float(value) if key.endswith("_per_minute") else int(value)
    except ValueError:
        raise InputError(message(f"the option {key!r} without a number", f"{key}=100", "write a number")) from None
