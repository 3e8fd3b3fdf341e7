"""Two encoders of one world: the newer one turns the vectors of the older and adds what only it knows."""

from __future__ import annotations

import numpy as np

from collection.fakes import FakeEncoder

WORDS = [f"word{i}" for i in range(60)]


class Newer(FakeEncoder):
    """Turned vectors of `FakeEncoder`, and refuses texts that it is told to."""

    def __init__(self, dim: int = 24, *, noise: float = 0.2, refuses: str | None = None, name: str = "newer") -> None:
        super().__init__(16, fingerprint=f"{name}:{dim}")
        turn = np.random.default_rng(5).standard_normal((16, dim))
        self._turn = np.linalg.qr(turn.T)[0].T.astype(np.float32)
        self._own = FakeEncoder(dim, seed=9)
        self.dim, self._noise, self.refuses, self.encoded = dim, noise, refuses, 0

    def encode_with_report(self, items, *, role="document", batch_size=64, progress=False):
        if self.refuses and any(self.refuses in item for item in items):
            raise ValueError("cannot read this")
        old = FakeEncoder(16).encode_with_report(items)
        self.encoded += len(items)
        X = old[0] @ self._turn + self._noise * self._own.encode(items)
        return X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-9).astype(np.float32), old[1]


def texts(count: int, seed: int = 0) -> list[str]:
    """Texts of four words each."""
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, 4, replace=False)) for _ in range(count)]
