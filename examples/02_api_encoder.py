"""Change an encoder's API: estimate, index through a server that stumbles, resume, and notice other weights.

A stand-in on this machine plays the server, so this runs offline and costs nothing. With a real one, replace
``SERVER`` by ``"openai:text-embedding-3-small"`` (key in ``OPENAI_API_KEY``), ``"cohere:embed-v4.0"``
(``CO_API_KEY``), ``"ollama:nomic-embed-text"``, or the address of your TEI server.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import orthant
from orthant.encoders import ApiEncoder
from orthant.errors import EncoderMismatchError, EndpointError

NOTES = [
    "The red kite circled over the harbour all morning.",
    "A blue boat came in with a torn sail.",
    "The baker sells rye bread on Fridays.",
    "Engines need oil; the captain forgot it twice.",
    "Tide tables hang beside the lighthouse door.",
    "My sister plays the violin in the garden.",
]


class StandIn(BaseHTTPRequestHandler):
    """Speaks OpenAI's shape, with the static encoder that Orthant ships as its model."""

    model = orthant.load_encoder("static")
    fails_on, other_weights = None, False

    def do_POST(self) -> None:
        """Answer a request for vectors."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if StandIn.fails_on in body["input"]:
            StandIn.fails_on = None
            return self.reply(401, {"error": "the key has run out"})
        vectors = self.model.encode(body["input"])
        vectors = vectors[:, ::-1] if self.other_weights else vectors
        data = [{"index": i, "embedding": row.tolist()} for i, row in enumerate(vectors)]
        return self.reply(200, {"data": data, "usage": {"prompt_tokens": sum(len(t.split()) for t in body["input"])}})

    def reply(self, status: int, answer: dict) -> None:
        """Send JSON."""
        payload = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *arguments: object) -> None:
        """Keep quiet."""


def main(folder: Path, url: str) -> None:
    """Index through a server that stumbles, resume, and notice other weights."""
    spec = f"openai:stand-in?url={url}&max_batch=2&parallel=1"
    encoder = ApiEncoder("openai", "stand-in", url=url, cache=folder / "vectors", price=0.02, max_batch=2, parallel=1)
    estimate = encoder.estimate(NOTES)
    print(f"1. Before: {estimate.texts} texts, {estimate.requests} requests, about {estimate.tokens} tokens.")

    ids = [f"note-{i}" for i in range(len(NOTES))]
    with orthant.open(folder / "notes", encoder=encoder) as notes:
        StandIn.fails_on = NOTES[2]
        try:
            notes.upsert(ids, texts=NOTES)
        except EndpointError as error:
            print(f"2. The server stumbled: {error}")
        print(f"   Records in the collection: {len(notes)} (a failed call leaves nothing half-indexed).")
        report = encoder.estimate(NOTES)
        print(f"3. The next call resumes: {report.cached} of {report.texts} texts are in the cache.")
        notes.upsert(ids, texts=NOTES)
        print(f"   Records now: {len(notes)}. Spent: {encoder.cost.requests} requests, {encoder.cost.tokens} tokens.")
        hit = notes.search("who makes music?", mode="dense", k=1)[0]
        print(f"4. 'who makes music?' -> {hit.id}: {hit.text}")

    os.environ["ORTHANT_ENCODER_CACHE"] = str(folder / "vectors")
    with orthant.open(folder / "by-name", encoder=spec) as notes:
        notes.upsert(ids, texts=NOTES)
    with orthant.open(folder / "by-name") as notes:
        print(f"5. Reopened without naming the encoder: {notes.search('a ship', mode='dense', k=1).ids}.")

    StandIn.other_weights = True
    try:
        orthant.open(folder / "by-name", encoder=spec)
    except EncoderMismatchError as error:
        print(f"6. The provider changed the model under its name: {error}")


if __name__ == "__main__":
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        os.environ.pop(name, None)
    server = ThreadingHTTPServer(("127.0.0.1", 0), StandIn)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    with tempfile.TemporaryDirectory() as scratch:
        main(Path(scratch), f"http://127.0.0.1:{server.server_port}/v1")
    server.shutdown()
