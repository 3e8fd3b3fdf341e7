"""Calls of a JSON service over the standard library, with a time limit and retries."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import Any

from orthant.errors import InputError, NotFoundError, message

__all__ = ["JsonService"]

_RETRIED = {429, 500, 502, 503, 504}
_ATTEMPTS = 3


class JsonService:
    """A service that answers with JSON.

    Parameters
    ----------
    address : str
        Its ``http://`` or ``https://`` address.
    headers : dict of str to str
        Sent with every call; never shown in an error.
    timeout_s : float, default 30.0
        Seconds to wait for an answer.
    pause_s : float, default 0.5
        Seconds before the second attempt, doubled before the third.
    """

    def __init__(self, address: str, headers: dict[str, str], *, timeout_s: float = 30.0, pause_s: float = 0.5) -> None:
        self.address = address.rstrip("/")
        self._headers = {"Accept": "application/json"} | headers
        self._timeout_s, self._pause_s = timeout_s, pause_s

    def call(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Return the answer to a call.

        Parameters
        ----------
        path : str
            Behind the address.
        body : dict, optional
            Sent as JSON by POST; without it the call is a GET.

        Returns
        -------
        object
            The parsed answer.

        Raises
        ------
        NotFoundError
            The service does not know the path.
        InputError
            It refuses the call, cannot be reached, or answers with something else than JSON.
        """
        data = None if body is None else json.dumps(body).encode()
        headers = self._headers if body is None else self._headers | {"Content-Type": "application/json"}
        for attempt in range(_ATTEMPTS):
            last = attempt == _ATTEMPTS - 1
            try:
                request = urllib.request.Request(self.address + path, data=data, headers=headers)
                with urllib.request.urlopen(request, timeout=self._timeout_s) as answer:
                    return json.loads(answer.read())
            except urllib.error.HTTPError as error:
                if error.code not in _RETRIED or last:
                    raise self._refused(path, error) from error
            except (OSError, ValueError) as error:
                if isinstance(error, ValueError) or last:
                    raise InputError(
                        message(
                            f"{self.address}{path}: {error}", "an answer in JSON", "check the address and the server"
                        )
                    ) from error
            time.sleep(self._pause_s * 2**attempt)
        raise InputError(message(f"no answer from {self.address}", "one", "try again"))

    def _refused(self, path: str, error: urllib.error.HTTPError) -> Exception:
        if error.code == 404:
            return NotFoundError(message(f"{self.address}{path}, which is not there", "a known path", "check the name"))
        if error.code in (401, 403):
            remedy = "pass api_key="
        else:
            remedy = "check the server, then import again; existing='skip' passes over what is there"
        return InputError(message(f"status {error.code} from {self.address}{path}", "status 200", remedy))
