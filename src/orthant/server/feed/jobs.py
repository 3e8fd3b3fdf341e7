"""Running a paper's claims behind a page: one at a time, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from typing import Any

from orthant.errors import OverloadedError, message

__all__ = ["Job", "Jobs"]

_LONGEST_S = 3_600.0
_ENDINGS = {0: "holds", 1: "fails", 3: "only reported", 4: "data missing"}


@dataclass
class Job:
    """A run of ``orthant reproduce KEY --quick``.

    Attributes
    ----------
    key : str
        The paper.
    state : str
        ``"running"``, or what it came to.
    report : dict
        What it printed, once it has ended.
    """

    key: str
    state: str = "running"
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.state == "running"


class Jobs:
    """The runs of a server; the last one of each paper is remembered until the server ends."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def get(self, key: str) -> Job | None:
        """Return the last run of a paper.

        Parameters
        ----------
        key : str
            The paper.

        Returns
        -------
        Job or None
            None where there was none.
        """
        return self._jobs.get(key)

    def start(self, key: str) -> Job:
        """Begin a run.

        Parameters
        ----------
        key : str
            A key of the catalogue.

        Returns
        -------
        Job
            The run.

        Raises
        ------
        OverloadedError
            Another one is going on: two would make each other's seconds worthless.
        """
        with self._lock:
            if self._closed or any(job.running for job in self._jobs.values()):
                raise OverloadedError(message("a second run", "one at a time", "wait until the other has ended"))
            job = self._jobs[key] = Job(key)
            command = [sys.executable, "-m", "orthant", "reproduce", key, "--quick", "--json"]
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            threading.Thread(
                target=self._wait, args=(job, self._process), name="orthant-reproduce", daemon=True
            ).start()
        return job

    def _wait(self, job: Job, process: subprocess.Popen[bytes]) -> None:
        try:
            printed, _ = process.communicate(timeout=_LONGEST_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            job.state = "stopped after an hour"
            return
        try:
            found = json.loads(printed)
        except ValueError:
            found = {}
        job.report = found if isinstance(found, dict) else {}
        job.state = _ENDINGS.get(process.returncode, f"stopped with exit code {process.returncode}")

    def close(self) -> None:
        """End the run that is going on."""
        with self._lock:
            self._closed = True
            process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
