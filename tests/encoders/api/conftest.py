from __future__ import annotations

import pytest

from encoders.api.stand_in import Server
from orthant import http_json


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "OPENAI_API_KEY", "CO_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("ORTHANT_ENCODER_CACHE", raising=False)
    made = Server()
    yield made
    made.close()


@pytest.fixture
def waits(monkeypatch):
    """Seconds that the client would have slept."""
    slept = []
    monkeypatch.setattr(http_json.time, "sleep", slept.append)
    return slept
