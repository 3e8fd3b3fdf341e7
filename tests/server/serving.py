"""A small collection behind the application, and raw requests for what no client would send."""

from __future__ import annotations

import contextlib
import socket
from urllib.parse import urlsplit

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
pytest.importorskip("uvicorn", reason="the extra 'serve' is not installed")

import orthant

WORDS = ("amber", "basin", "cedar", "delta", "ember", "fjord", "grove", "heath")
LOCAL = "http://127.0.0.1:1"


def make(path, *, count=40, dim=8):
    """A collection of texts with numbers and random vectors."""
    rng = np.random.default_rng(0)
    with orthant.open(path) as collection:
        collection.upsert(
            [f"r{i}" for i in range(count)],
            texts=[f"{WORDS[i % 8]} {WORDS[(i // 8) % 8]} text {i}" for i in range(count)],
            metadata=[{"n": i, "kind": WORDS[i % 3]} for i in range(count)],
            vectors=rng.standard_normal((count, dim)).astype(np.float32),
        )
    return path


def raw(url, head, body=b"", *, timeout_s=10.0, shut=False):
    """Send bytes as they are, and return all that comes back until the server closes or waits."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=timeout_s) as connection:
        connection.sendall(head.replace(b"HOST", f"127.0.0.1:{parts.port}".encode()) + body)
        if shut:
            connection.shutdown(socket.SHUT_WR)
        found = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(65536):
                found += piece
                if b"\r\n\r\n" in found and b"connection: close" not in found.lower():
                    break
    return found
