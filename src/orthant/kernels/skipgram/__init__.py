"""Loops that learn vectors of words, of senses and of paragraphs from running text, by negative sampling.

Token numbers with offsets and tables of vectors enter; the same tables leave, changed in place.
Never reads text, never starts a thread, never validates.
Start with `words`; `sampling` has what the three loops draw from.
"""

from __future__ import annotations
