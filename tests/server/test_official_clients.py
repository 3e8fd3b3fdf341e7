"""The official clients of OpenAI, Cohere and the Model Context Protocol against a running server."""

from __future__ import annotations

import asyncio
import os
import sys

import numpy as np
import pytest

import orthant
from server.serving import make

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")

from orthant.encoders.registry import load_encoder
from orthant.server import KeyFile, background
from orthant.server.mcp.protocol import HANDSHAKE_VERSIONS, VERSIONS
from orthant.server.openai import ServedModel

TEXTS = ["a lighthouse keeper's diary", "engines of war"]


class Overlap:
    def score(self, query, records):
        return np.array([len(set(query.split()) & set(one.split())) for one in records], dtype=np.float32)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    keys = KeyFile(folder / "keys.json")
    key = keys.add("test", {"*": "write"})
    models = {"words": ServedModel("static", dimensions=[64]), "judge": Overlap()}
    with background({"books": make(folder / "books")}, keys=keys, models=models, mcp_write=True) as url:
        yield url, key


def test_the_client_of_openai(served):
    openai = pytest.importorskip("openai", reason="the client of OpenAI is not installed")
    url, key = served
    client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)
    expected = load_encoder("static").encode(TEXTS)
    for form in ({}, {"encoding_format": "float"}, {"encoding_format": "base64"}):
        found = client.embeddings.create(model="words", input=TEXTS, **form)
        values = [one.embedding for one in found.data]
        if form.get("encoding_format") != "base64":
            assert np.array_equal(np.array(values, dtype=np.float32), expected)
        assert found.usage.total_tokens > 0
    short = client.embeddings.create(model="words", input="a", dimensions=64)
    assert len(short.data[0].embedding) == 64
    assert {one.id for one in client.models.list()} == {"words", "judge"}
    assert client.models.retrieve("words").id == "words"
    with pytest.raises(openai.BadRequestError, match="token ids"):
        client.embeddings.create(model="words", input=[1, 2, 3])
    with pytest.raises(openai.NotFoundError) as missing:
        client.embeddings.create(model="text-embedding-3-small", input="a")
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{url}/v1", api_key="orth_wrong", max_retries=0).models.list()


def test_the_client_of_cohere(served):
    cohere = pytest.importorskip("cohere", reason="the client of Cohere is not installed")
    url, key = served
    documents = ["blue boat", "a red kite", "red boat"]
    for client in (cohere.ClientV2(key, base_url=url), cohere.Client(key, base_url=url)):
        found = client.rerank(model="judge", query="red kite", documents=documents, top_n=2)
        assert [one.index for one in found.results] == [1, 2]
        assert found.results[0].relevance_score == 2.0


async def _talk(client, mode):
    async with client:
        expected = VERSIONS if mode == "auto" else HANDSHAKE_VERSIONS
        assert client.session.protocol_version == expected[-1]
        tools = {tool.name for tool in (await client.list_tools()).tools}
        assert {"search", "get", "why_not", "stats"} <= tools
        found = await client.call_tool("search", {"query": "amber", "k": 2, "mode": "lexical"})
        assert len(found.structured_content["hits"]) == 2
        wrong = await client.call_tool("search", {"query": "amber", "k": 0})
        assert wrong.is_error
        assert "at least 1" in wrong.content[0].text
        added = await client.call_tool("add", {"records": [{"id": "x1", "text": "t"}], "replace": True})
        assert added.structured_content["ids"] == ["x1"]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_client_of_the_protocol_over_http(served, mode):
    mcp = pytest.importorskip("mcp", reason="the package mcp is not installed")
    from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client

    url, key = served

    async def run():
        async with create_mcp_http_client(headers={"Authorization": f"Bearer {key}"}) as http:
            await _talk(mcp.Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=mode), mode)

    asyncio.run(run())


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_client_of_the_protocol_over_stdio(tmp_path, mode):
    mcp = pytest.importorskip("mcp", reason="the package mcp is not installed")
    path = make(tmp_path / "books")
    command = [sys.executable, "-m", "orthant", "mcp", str(path), "--write"]
    parameters = mcp.StdioServerParameters(command=command[0], args=command[1:], env=dict(os.environ))
    asyncio.run(_talk(mcp.Client(mcp.stdio_client(parameters), mode=mode), mode))
    with orthant.open(path) as books:
        assert "x1" in books
