"""Move a collection from one embedding API to another: side by side, compared, switched, and watched by canaries.

A stand-in on this machine plays both providers, so this runs offline and costs nothing. With real ones, put
``"openai:text-embedding-3-small"`` and ``"cohere:embed-v4.0"`` in place of the two lines. For cost and failures see
``02_api_encoder.py``.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

import orthant
from orthant.errors import EncoderMismatchError

NOTES = {
    "kite": "The red kite circled over the harbour all morning.",
    "boat": "A blue boat came in with a torn sail.",
    "bread": "The baker sells rye bread on Fridays.",
    "oil": "Engines need oil; the captain forgot it twice.",
    "tide": "Tide tables hang beside the lighthouse door.",
    "violin": "My sister plays the violin in the garden.",
    "doctor": "The doctor comes to the island once a week.",
    "snow": "Snow closed the mountain road until noon.",
}
JUDGED = {
    "music": "violin", "a bird of prey": "kite", "winter weather": "snow", "a sailing ship": "boat",
    "medicine": "doctor", "food from an oven": "bread", "the sea at high water": "tide", "motor maintenance": "oil",
}  # fmt: skip


class Providers(BaseHTTPRequestHandler):
    """Speaks OpenAI's shape at /old and Cohere's at /new, with two models of different quality."""

    model = orthant.load_encoder("static")
    requests = {"old": 0, "new": 0}
    other_weights = False

    def do_POST(self) -> None:
        """Answer a request for vectors."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = "old" if self.path.startswith("/old") else "new"
        Providers.requests[name] += 1
        vectors = self.model.encode(asked["input"] if name == "old" else asked["texts"])
        if name == "old":
            # The old model is a coarse one: it keeps little of each vector.
            answer = {"data": [{"index": i, "embedding": row[:12].tolist()} for i, row in enumerate(vectors)]}
        else:
            vectors = np.roll(vectors, 1, axis=1) if self.other_weights else vectors
            answer = {"embeddings": {"float": vectors.tolist()}}
        payload = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *arguments: object) -> None:
        """Keep quiet."""


def found(notes: orthant.Collection, space: str) -> int:
    """Return how many judged questions have their answer at the top."""
    hits = notes.search_many(list(JUDGED), k=1, mode="dense", space=space)
    return sum(result.ids == [answer] for result, answer in zip(hits, JUDGED.values(), strict=True))


def main(folder: Path, address: str) -> None:
    """Move from the old API to the new one."""
    old, new = f"openai:coarse?url={address}/old", f"cohere:fine?url={address}/new"
    path = folder / "notes"
    with orthant.open(path, encoder=old) as notes:
        notes.upsert(
            list(NOTES), texts=list(NOTES.values()), metadata=[{"length": len(text)} for text in NOTES.values()]
        )
        space = notes.spaces["default"]
        print(f"1. Indexed with {space.fingerprint.split('|')[0]}: {space.dim} values.")

    try:
        orthant.open(path, encoder=new)
    except EncoderMismatchError as error:
        print(f"2. Vectors of two models are never mixed: {error}")

    with orthant.open(path) as notes:
        notes.add_space("fine", encoder=new)
        before = Providers.requests["old"]
        # The old vectors come along as they are stored, so that only the new provider is asked and paid.
        records = notes.get(list(notes.ids()), vectors=True)
        notes.upsert(
            [record.id for record in records],
            texts=[record.text for record in records],
            metadata=[record.metadata for record in records],
            vectors={"default": [record.vectors["default"] for record in records]},
        )
        print(
            f"3. Both spaces are filled; requests to the old provider meanwhile: {Providers.requests['old'] - before}."
        )
        counts = {name: space["vectors"] for name, space in notes.stats().spaces.items()}
        print(f"   Vectors by space: {counts}")
        scores = {space: found(notes, space) for space in ("default", "fine")}
        print(f"4. Judged questions answered first, of {len(JUDGED)}: {scores}")
        better = max(scores, key=lambda space: scores[space])
        print(f"   Searches move to space={better!r}: {notes.search('music', k=1, space=better).ids}")

    Providers.other_weights = True
    with orthant.open(path) as notes:
        print(f"5. The old space still answers: {notes.search('a sailing ship', k=1, mode='dense').ids}")
        try:
            notes.search("music", space="fine")
        except EncoderMismatchError as error:
            print(f"6. Canary alarm, the new provider changed its model: {error}")
        print(f"   By words nothing is lost: {notes.search('violin', mode='lexical').ids}")


if __name__ == "__main__":
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        os.environ.pop(variable, None)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Providers)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    with tempfile.TemporaryDirectory() as scratch:
        main(Path(scratch), f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
