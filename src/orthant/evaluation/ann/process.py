"""The parent's side of an engine's process: requests with a time limit, and an end whatever happens."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from orthant.errors import OrthantError, message

__all__ = ["EngineFailedError", "EngineProcess"]


class EngineFailedError(OrthantError):
    """An engine did not answer: it raised, died, or took longer than its time."""


class EngineProcess:
    """One engine in a process of its own, so that memory, threads and crashes are its own.

    Parameters
    ----------
    spec : mapping
        What the worker needs; JSON.
    environment : mapping of str to str, optional
        Further variables, such as those that switch instruction sets off.
    module : str, default "orthant.evaluation.ann.worker"
        What the process runs.
    python : str, optional
        Another interpreter, such as that of an environment with libraries that this one lacks. It is shown this
        package and nothing else of this environment. It needs NumPy.
    """

    def __init__(
        self,
        spec: Mapping[str, Any],
        *,
        environment: Mapping[str, str] | None = None,
        module: str = "orthant.evaluation.ann.worker",
        python: str | None = None,
    ) -> None:
        paths = [part for part in sys.path if part] if python is None else [str(Path(__file__).resolve().parents[3])]
        variables = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        # A pool that spins between two calls would steal time from whoever is measured next.
        variables |= {"OMP_WAIT_POLICY": "PASSIVE", "TF_CPP_MIN_LOG_LEVEL": "3", **(environment or {})}
        self._process = subprocess.Popen(
            [python or sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=variables,
        )
        self._said = bytearray()
        self._rest = b""
        try:
            self.ask("start", spec, timeout_s=120.0)
        except BaseException:
            self.close()
            raise

    def ask(self, verb: str, request: Mapping[str, Any] | None = None, *, timeout_s: float) -> dict[str, Any]:
        """Send one request and wait for its answer.

        Parameters
        ----------
        verb : str
            Method of the worker.
        request : mapping, optional
            Arguments of the method; JSON.
        timeout_s : float
            Seconds to wait; then the process is ended.

        Returns
        -------
        dict
            The answer.

        Raises
        ------
        EngineFailedError
            No answer in time, an error in the worker, or its end.
        """
        try:
            self.send(verb, request)
            answer = json.loads(self._line(time.monotonic() + timeout_s, verb))
        except (BrokenPipeError, ValueError) as error:
            raise self._failed(f"its process ended during {verb!r}") from error
        if "error" in answer:
            raise self._failed(answer["error"])
        return answer

    def send(self, verb: str, request: Mapping[str, Any] | None = None) -> None:
        """Send one request and do not wait: what it does may be cut short by `close`.

        Parameters
        ----------
        verb : str
            Method of the worker.
        request : mapping, optional
            Arguments of the method; JSON.
        """
        pipe = self._process.stdin
        if pipe is not None:
            pipe.write(json.dumps({"do": verb, **(request or {})}).encode() + b"\n")
            pipe.flush()

    def _line(self, deadline: float, verb: str) -> bytes:
        """One line of its answers; what it says on standard error is drained meanwhile, or its pipe would fill."""
        with selectors.DefaultSelector() as selector:
            for pipe in (self._process.stdout, self._process.stderr):
                if pipe is not None and not pipe.closed:
                    selector.register(pipe, selectors.EVENT_READ)
            while b"\n" not in self._rest:
                left = deadline - time.monotonic()
                if left <= 0:
                    self.close()
                    raise self._failed(f"{verb!r} took longer than its time")
                for key, _ in selector.select(min(left, 1.0)):
                    chunk = os.read(key.fd, 1 << 16)
                    if key.fileobj is self._process.stdout:
                        if not chunk:
                            raise self._failed(f"its process ended during {verb!r}")
                        self._rest += chunk
                    elif chunk:
                        self._said = (self._said + chunk)[-4_000:]
                    else:
                        selector.unregister(key.fileobj)
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def _failed(self, what: str) -> EngineFailedError:
        said = [part for part in self._said.decode(errors="replace").splitlines() if part.strip()]
        last = f" ({said[-1].strip()[:300]})" if said and "process ended" in what else ""
        return EngineFailedError(
            message(f"{what}{last}", "an answer", "raise budget_s, or look at the engine's own messages")
        )

    def close(self) -> None:
        """End the process."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    # A request that was never read is of no interest any more.
                    continue

    def __enter__(self) -> EngineProcess:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process."""
        self.close()
