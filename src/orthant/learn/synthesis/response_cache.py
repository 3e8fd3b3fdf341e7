"""Generated texts on disk, so that nothing is paid for twice: one small JSON file per request."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orthant.artifact import write_bytes_atomically
from orthant.learn.synthesis.generator import Generated

__all__ = ["ResponseCache"]


class ResponseCache:
    """Keep generated texts by what was asked: model, prompt and every setting.

    Parameters
    ----------
    folder : str or Path
        Created when first written to. Its files hold texts and token counts, no keys and no prompts.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     cache = ResponseCache(folder)
    ...     cache.put({"prompt": "a"}, Generated("b"))
    ...     cache.get({"prompt": "a"}).text, cache.get({"prompt": "c"})
    ('b', None)
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)

    def _path(self, request: Mapping[str, Any]) -> Path:
        text = json.dumps(request, sort_keys=True, ensure_ascii=True)
        key = hashlib.sha256(text.encode()).hexdigest()
        return self._folder / key[:2] / f"{key}.json"

    def get(self, request: Mapping[str, Any]) -> Generated | None:
        """Return the text of a request, or None where it was not made before.

        Parameters
        ----------
        request : mapping
            JSON values that decide the text.

        Returns
        -------
        Generated or None
            Marked as cached. A damaged file counts as absent: it is written anew with the next answer.
        """
        try:
            found = json.loads(self._path(request).read_text(encoding="utf-8"))
            return Generated(found["text"], found["finish"], found["prompt_tokens"], found["completion_tokens"], True)
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def put(self, request: Mapping[str, Any], generated: Generated) -> None:
        """Keep the text of a request.

        Parameters
        ----------
        request : mapping
            JSON values that decide the text.
        generated : Generated
            What was written.
        """
        path = self._path(request)
        path.parent.mkdir(parents=True, exist_ok=True)
        record = {
            "text": generated.text,
            "finish": generated.finish,
            "prompt_tokens": generated.prompt_tokens,
            "completion_tokens": generated.completion_tokens,
        }
        write_bytes_atomically(path, json.dumps(record, ensure_ascii=True).encode())
