"""One line names an encoder; collections remember it, and nothing half-indexed stays when the server fails."""

from __future__ import annotations

import numpy as np
import pytest

import orthant
from encoders.api.stand_in import DIM, vector
from orthant.encoders import ApiEncoder, load_encoder
from orthant.encoders.api import specs
from orthant.encoders.api.specs import is_api_spec, require_trusted_host
from orthant.encoders.fingerprint import Fingerprint
from orthant.errors import EncoderMismatchError, EndpointError, InputError, NotFoundError

KEY = "sk-very-secret-4711"


def test_specs_name_encoders(server):
    tei = load_encoder(f"tei:{server.url}")
    assert Fingerprint.parse(tei.fingerprint).name == "tei:BAAI/bge" and tei.dim == DIM
    ollama = load_encoder(f"ollama:nomic?url={server.url}&dimensions=5&query_prompt=q%3A%20")
    found = Fingerprint.parse(ollama.fingerprint)
    assert (found.name, found.dim, found.prompt) == ("ollama:nomic", 5, "query='q: '")
    openai = load_encoder(f"openai:tiny?url={server.url}&requests_per_minute=6000&parallel=2&revision=r")
    np.testing.assert_array_equal(openai.encode(["a"])[0], vector("a", model="first"))
    assert not is_api_spec("static") and not is_api_spec("C:/models") and not is_api_spec(7)


def test_the_cache_comes_from_the_environment(server, monkeypatch, tmp_path):
    monkeypatch.setenv("ORTHANT_ENCODER_CACHE", str(tmp_path))
    load_encoder(f"tei:{server.url}").encode(["a"])
    assert load_encoder(f"tei:{server.url}").encode_with_report(["a"])[1].cache_hits == 1


def test_a_missing_key_is_named(server):
    for spec, variable in (("openai:m", "OPENAI_API_KEY"), ("cohere:m", "CO_API_KEY")):
        with pytest.raises(NotFoundError, match=f"no environment variable {variable}"):
            load_encoder(spec)


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("openai:", "without a name"),
        ("tei:", "without a name"),
        ("tei:localhost", "no plain http"),
        ("tei:http://user:hunter2@x", "no plain http"),
        ("tei:http://x?url=http://y", "option 'url'"),
        ("openai:m?key=hunter2", "option 'key'"),
        ("openai:m?key_from_env=HOME", "option 'key_from_env'"),
        ("openai:m?dimensions=hunter2", "'dimensions' without a number"),
        ("openai:m?dimensions=3&dimensions=4", "each once"),
    ],
)
def test_bad_specs_are_refused(spec, text):
    with pytest.raises(InputError, match=text) as caught:
        load_encoder(spec)
    assert "hunter2" not in str(caught.value)


def test_a_collection_remembers_the_spec_and_no_key(server, monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    spec = f"openai:tiny?url={server.url}"
    with orthant.open(tmp_path / "c", encoder=spec) as notes:
        notes.upsert(["a", "b"], texts=["a red kite", "a blue boat"])
    with orthant.open(tmp_path / "c") as notes:
        assert notes.search("a blue boat", mode="dense", k=1).ids == ["b"]
    assert not any(KEY.encode() in path.read_bytes() for path in (tmp_path / "c").rglob("*") if path.is_file())


def test_w36_a_collection_notices_changed_weights_past_the_cache(server, tmp_path):
    def encoder():
        return ApiEncoder("openai", "tiny", url=server.url, dimensions=DIM, cache=tmp_path / "cache", canary_every=None)

    with orthant.open(tmp_path / "c", encoder=encoder()) as notes:
        notes.upsert(["a"], texts=["a red kite"])
    orthant.open(tmp_path / "c", encoder=encoder()).close()
    server.weights = "second"
    # The encoder compares nothing itself here, and its cache answers as on the first day.
    with pytest.raises(EncoderMismatchError, match="canary texts"):
        orthant.open(tmp_path / "c", encoder=encoder())


def test_w35_another_model_is_refused(server, tmp_path):
    with orthant.open(tmp_path / "c", encoder=f"openai:tiny?url={server.url}") as notes:
        notes.upsert(["a"], texts=["a red kite"])
    with pytest.raises(EncoderMismatchError, match="model: 'openai:tiny' against 'openai:other'"):
        orthant.open(tmp_path / "c", encoder=f"openai:other?url={server.url}")


def test_nothing_is_half_indexed_when_the_server_fails(server, tmp_path, monkeypatch):
    monkeypatch.setenv("ORTHANT_ENCODER_CACHE", str(tmp_path / "cache"))
    texts = [f"text number {i}" for i in range(300)]
    ids = [str(i) for i in range(300)]
    with orthant.open(tmp_path / "c", encoder=f"openai:tiny?url={server.url}&parallel=1") as notes:
        notes.upsert(["first"], texts=["the first text"])
        server.plan = [None, None, (401, b"", {})]
        with pytest.raises(EndpointError, match="128 of 300 texts"):
            notes.upsert(ids, texts=texts)
        assert len(notes) == 1 and notes.search("text number", mode="lexical").ids == ["first"]
        before = sum(map(len, server.asked()))
        notes.upsert(ids, texts=texts)
        assert len(notes) == 301
        assert sum(map(len, server.asked())) - before == 300 - 128


def test_a_collection_from_elsewhere_sends_nothing_to_a_host_that_it_names(server, tmp_path, monkeypatch):
    with orthant.open(tmp_path / "c", encoder=f"tei:{server.url}") as notes:
        notes.upsert(["a"], texts=["a red kite"])
    monkeypatch.setattr(specs, "_LOCAL", ())  # as if the server were on another machine
    before = len(server.requests)
    with orthant.open(tmp_path / "c") as notes:
        with pytest.raises(InputError, match=r"lives at '127\.0\.0\.1'.*consent.*Open with encoder='tei:http"):
            notes.search("a kite", mode="dense")
        assert notes.search("kite", mode="lexical").ids == ["a"]
    assert len(server.requests) == before


def test_trusted_hosts():
    for spec in ("openai:m", "ollama:m", "tei:http://127.0.0.1:1", "openai:m?url=http://localhost:8000/v1", "static"):
        require_trusted_host(spec)
    for spec in ("tei:http://10.0.0.1", "openai:m?url=https://evil.example/v1", "tei:http://localhost.evil.example"):
        with pytest.raises(InputError, match="consent"):
            require_trusted_host(spec)
