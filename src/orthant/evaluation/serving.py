"""The loop of a measured process: one JSON line per request on standard input, one per answer on standard output."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["serve"]


def serve(make: Callable[[dict[str, Any]], Any]) -> None:
    """Answer requests until standard input ends.

    Parameters
    ----------
    make : callable of dict
        Makes the worker from the request to ``start``. Other requests name a method of it in ``do`` and carry its
        arguments; what it returns must be JSON-ready.

    Notes
    -----
    Standard output is kept for answers: what libraries print goes to standard error. Whatever a worker raises is
    answered as ``error``, in its own words.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    worker: Any = None
    for line in sys.stdin:
        request = json.loads(line)
        verb = request.pop("do")
        try:
            if verb == "start":
                worker, answer = make(request), {}
            else:
                answer = getattr(worker, verb)(**request)
        except Exception as error:  # noqa: BLE001 - whatever a library raises makes what is measured missing.
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
