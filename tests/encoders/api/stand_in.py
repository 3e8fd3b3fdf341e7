"""A server on this machine that speaks the four shapes, and misbehaves on demand."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

DIM = 8


def vector(text: str, dim: int = DIM, model: str = "") -> np.ndarray:
    """What the model gives for a text: a direction by its hash."""
    seed = int.from_bytes(hashlib.sha256(f"{model}|{text}".encode()).digest()[:8], "big")
    out = np.random.default_rng(seed).standard_normal(dim).astype(np.float32)
    return out / np.linalg.norm(out)


class Server:
    """Answers POSTs by ``plan`` first, then properly.

    An entry of ``plan`` is None (a proper answer), a tuple (status, payload, headers), or a function of the rows that
    changes them. ``refuse(texts)`` returns a tuple for a request that is to be refused.
    """

    def __init__(self, dim: int = DIM):
        outer = self
        self.dim, self.weights, self.plan, self.delay_s, self.refuse = dim, "first", [], 0.0, None
        self.requests, self.headers, self.busy, self.most = [], [], 0, 0
        self.info = {"model_id": "BAAI/bge", "model_sha": "abc123", "max_input_length": 512, "max_client_batch_size": 4}
        self.tags = {"models": [{"name": "nomic:latest", "digest": "d1" * 32}]}
        self.lock = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                found = {"/info": outer.info, "/api/tags": outer.tags}.get(self.path)
                outer.reply(self, 200 if found else 404, json.dumps(found).encode(), {})

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with outer.lock:
                    outer.requests.append((self.path, body))
                    outer.headers.append(dict(self.headers))
                    outer.busy += 1
                    outer.most = max(outer.most, outer.busy)
                    planned = outer.plan.pop(0) if outer.plan else None
                if outer.delay_s:
                    time.sleep(outer.delay_s)
                with outer.lock:
                    outer.busy -= 1
                texts = outer.texts(body)
                if planned is None and outer.refuse is not None:
                    planned = outer.refuse(texts)
                if isinstance(planned, tuple):
                    outer.reply(self, *planned)
                else:
                    dim = body.get("dimensions") or body.get("output_dimension") or outer.dim
                    rows = [vector(t, dim, outer.weights) for t in texts]
                    rows = [row.tolist() for row in rows]
                    rows = planned(rows) if planned else rows
                    outer.reply(self, 200, outer.answer(self.path, body, rows), {})

            def log_message(self, *arguments):
                pass

        class Quiet(ThreadingHTTPServer):
            request_queue_size = 64
            daemon_threads = True

            def handle_error(self, *arguments):
                pass  # a client that gave up waiting is part of the tests

        self.server = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @staticmethod
    def reply(handler, status, payload, headers):
        if status == 0:
            handler.connection.close()
            return
        handler.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(payload))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(payload)

    @staticmethod
    def texts(body):
        found = next(body[name] for name in ("input", "inputs", "texts") if name in body)
        return [f"{body.get('input_type', '')}{text}" for text in found]

    @staticmethod
    def answer(path, body, rows):
        if path == "/embed" and "inputs" in body:
            return json.dumps(rows).encode()
        if path == "/embed":
            meta = {"billed_units": {"input_tokens": 3 * len(rows)}}
            return json.dumps({"embeddings": {"float": rows}, "meta": meta}).encode()
        if path == "/api/embed":
            return json.dumps({"embeddings": rows, "prompt_eval_count": 5 * len(rows)}).encode()
        data = [{"index": i, "embedding": row} for i, row in enumerate(rows)]
        if body.get("encoding_format") == "base64":
            for entry in data:
                entry["embedding"] = base64.b64encode(np.asarray(entry["embedding"], "<f4").tobytes()).decode()
        return json.dumps({"data": data[::-1], "usage": {"prompt_tokens": 2 * len(rows)}}).encode()

    def asked(self):
        """Texts of every POST so far."""
        return [self.texts(body) for _, body in self.requests]

    def close(self):
        self.server.shutdown()
        self.server.server_close()
