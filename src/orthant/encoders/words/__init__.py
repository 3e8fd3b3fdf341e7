"""Vectors of words, of their senses and of paragraphs, learned from raw text on the CPU, and files of word vectors.

Texts, or lists of words, and files of other tools enter; word vectors, binary codes and topic proportions leave.
Never downloads vectors, never needs torch.
Start with `skipgram`, then `vectors`; `corpus` has how texts become words.
"""

from __future__ import annotations
