"""One query among inverted lists: which lists, tables of what codes are worth, and the places of the best codes.

Everything that a query needs is done by the kernels here, from its vector to the keys of its candidates
(``list_choice``); ``list_search`` calls them for each query of a batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from orthant.kernels.addresses import prefetch
from orthant.kernels.clustering.list_blocks import above_64, nibble_sums
from orthant.kernels.clustering.list_choice import append_marked, keep_smallest, key_of, number_of, score_of
from orthant.kernels.compiling import kernel
from orthant.kernels.simd import dot_u8s8

__all__ = ["COSINE", "DOT", "L2", "choose_lists", "fill_tables", "keep_best", "prepare", "round_tables", "scan_list"]

DOT, COSINE, L2 = 0, 1, 2
"""Scores, as kernels are told of them."""

_LARGEST = 127
"""Of a table's bytes: the two that a byte of a code points at fit a byte together."""

_ENTRIES = 16
"""Of a book of 4 bits."""


@kernel
def prepare(query: Any, turned: Any, kind: Any, asked: Any, parts: Any) -> None:
    """Write a query as lists and as codebooks see it.

    Parameters
    ----------
    query, turned : ndarray of shape (d,), float32
        The query, and the same rotated as the codebooks are.
    kind : int
        ``COSINE`` brings it to length 1.
    asked, parts : ndarray of shape (d,), float32
        Written.
    """
    factor = 1.0
    if kind == COSINE:
        total = 0.0
        for i in range(query.shape[0]):
            total += np.float64(query[i]) * np.float64(query[i])
        factor = 1.0 / np.sqrt(total)
    for i in range(query.shape[0]):
        asked[i] = np.float32(query[i] * factor)
        parts[i] = np.float32(turned[i] * factor)


@kernel
def _rough_keys(
    asked: Any, center: Any, kind: Any, small: Any, weights: Any, extra: Any, signed: Any, rough: Any, keys: Any
) -> None:
    """Write what each list adds to scores, but for what is the same for all lists, and a key for its turn."""
    dim, lists, largest = asked.shape[0], small.shape[0], np.float32(0)
    for i in range(dim):
        x = asked[i] - center[i] if kind == L2 else asked[i]
        largest = max(largest, abs(x))
    step = largest / np.float32(127) if largest > 0 else np.float32(1)
    total = 0
    for i in range(dim):
        x = asked[i] - center[i] if kind == L2 else asked[i]
        value = int(np.rint(x / step))
        signed[i] = value
        total += value
    here, blocks = signed.ctypes.data, small.shape[1] // 64
    for number in range(lists):
        product = dot_u8s8(small[number].ctypes.data, here, blocks) - 128 * total
        value = weights[number] * (step * np.float32(product))
        # Under l2 what is extra is a part of the score; otherwise it only says which list goes first.
        rough[number] = value + extra[number] if kind == L2 else value
        keys[number] = key_of(value + extra[number], number)


@kernel
def choose_lists(
    asked: Any, center: Any, kind: Any, small: Any, weights: Any, extra: Any, signed: Any,
    held: Any, probes: Any, fewest: Any, rough: Any, keys: Any,
) -> Any:  # fmt: skip
    """Bring the keys of the lists to look into to the front, best first.

    Parameters
    ----------
    asked, center : ndarray of shape (d,), float32
        The query, and the mean of the centroids (l2).
    kind : int
        The score.
    small : ndarray of shape (lists, 64 b), uint8
        Centroids as bytes.
    weights, extra : ndarray of shape (lists,), float32
        What a product with the bytes is multiplied by, and what is added.
    signed : ndarray of shape (64 b,), int8
        Room for the query as bytes; zero behind d.
    held : ndarray of shape (lists,), int64
        Places of each list that may be answers.
    probes : int
        Lists wanted.
    fewest : int
        Places that there must be in all; more lists are taken until there are.
    rough : ndarray of shape (lists,), float32
        Written: what each list adds to the scores of its codes, but for what is the same for all lists.
    keys : ndarray of shape (lists,), uint64
        Written.

    Returns
    -------
    int64
        How many lists to look into.
    """
    _rough_keys(asked, center, kind, small, weights, extra, signed, rough, keys)
    count = min(probes, keys.shape[0])
    if count < keys.shape[0]:
        keep_smallest(keys, keys.shape[0], count)
    keys[:count].sort()
    seen = 0
    for i in range(count):
        seen += held[number_of(keys[i])]
    if seen < fewest and count < keys.shape[0]:
        # A filter, or lists that are nearly empty: all in their order, as many as hold enough.
        keys.sort()
        while seen < fewest and count < keys.shape[0]:
            seen += held[number_of(keys[count])]
            count += 1
    return count


@kernel
def fill_tables(parts: Any, books: Any, stride: Any, factor: Any, tables: Any) -> None:
    """Write what each codeword is worth to a query.

    Parameters
    ----------
    parts : ndarray of shape (d,), float32
        The query.
    books : ndarray of shape (m, size, entries), float32
        Codewords, the entries of a book side by side.
    stride : int
        Where the part of the next book begins: its size, or 0 where all books are of whole vectors.
    factor : float32
        Of every entry.
    tables : ndarray of shape (m, entries), float32
        Written.
    """
    nibbles = tables.shape[1] == _ENTRIES
    for j in range(books.shape[0]):
        table = tables[j]
        table[:] = 0
        for i in range(books.shape[1]):
            value, line = factor * parts[j * stride + i], books[j, i]
            # A loop of a length that the compiler knows becomes one vector instruction.
            if nibbles:
                for e in range(_ENTRIES):
                    table[e] += value * line[e]
            else:
                for e in range(line.shape[0]):
                    table[e] += value * line[e]


@kernel
def round_tables(tables: Any, small: Any) -> Any:
    """Round tables of 16 entries to bytes, by one step for all books.

    Parameters
    ----------
    tables : ndarray of shape (m, 16), float32
        The tables.
    small : ndarray of shape (ceil(m / 2), 32), uint8
        Written: the entries of books j and j + ceil(m / 2), which share byte j of a code.

    Returns
    -------
    step, lowest : float32
        A sum of entries is about ``lowest + step * (sum of bytes)``, off by at most half a step for each book.
    most : int
        The largest sum of bytes.
    """
    books, half = tables.shape[0], small.shape[0]
    span, lowest = np.float32(0), np.float32(0)
    lows, spans = np.empty(books, np.float32), np.empty(books, np.float32)
    for j in range(books):
        low, high = _ends(tables[j])
        lows[j], spans[j] = low, high - low
        span, lowest = max(span, high - low), lowest + low
    step = span / np.float32(_LARGEST) if span > 0 else np.float32(1)
    inverse, most = np.float32(1) / step, 0
    for j in range(books):
        table, low = tables[j], lows[j]
        line = small[j, :16] if j < half else small[j - half, 16:]
        for e in range(_ENTRIES):
            line[e] = np.uint8(min((table[e] - low) * inverse + np.float32(0.5), np.float32(_LARGEST)))
        most += int(min(spans[j] * inverse + np.float32(0.5), np.float32(_LARGEST)))
    return step, lowest, most


@kernel(fastmath={"nnan", "nsz"})
def _ends(table: Any) -> Any:
    """Return the smallest and the largest of 16 entries."""
    low, high = table[0], table[0]
    for e in range(1, _ENTRIES):
        low, high = min(low, table[e]), max(high, table[e])
    return low, high


@kernel
def keep_best(keys: Any, held: Any, depth: Any, threshold: Any) -> Any:
    """Keep the best candidates so far.

    Parameters
    ----------
    keys : ndarray of shape (n,), uint64
        Candidates; changed in place.
    held : int
        How many.
    depth : int
        How many are kept at most.
    threshold : float32
        Of what was kept before.

    Returns
    -------
    held : int
        How many there are now.
    threshold : float32
        What a candidate must exceed from now on.
    """
    if held < depth:
        return held, threshold
    if held > depth:
        keep_smallest(keys, held, depth)
        return depth, score_of(keys[depth - 1])
    worst = keys[0]
    for i in range(1, held):
        worst = max(worst, keys[i])
    return depth, score_of(worst)


@kernel
def _wide_sums(tables: Any, block: Any, base: Any, row: Any) -> None:
    for j in range(64):
        row[j] = base
    for i in range(block.shape[0]):
        table, line = tables[i], block[i]
        for j in range(64):
            row[j] += table[line[j]]


@kernel
def scan_list(
    codes: Any, bias: Any, words: Any, begin: Any, end: Any,
    tables: Any, small: Any, step: Any, base: Any, most: Any,
    sums: Any, row: Any, keys: Any, held: Any, depth: Any, threshold: Any,
) -> Any:  # fmt: skip
    """Take the places of a list whose scores exceed the threshold.

    Parameters
    ----------
    codes : ndarray of shape (blocks, bytes, 64), uint8
        The codes.
    bias : ndarray of shape (blocks * 64,) or (0,), float32
        Subtracted from the score of each place.
    words : ndarray of shape (blocks,), uint64
        Places that may be answers.
    begin, end : int
        Blocks of the list.
    tables : ndarray of shape (m, entries), float32
        For codes of 8 bits.
    small : ndarray of shape (ceil(m / 2), 32) or (0, 32), uint8
        For codes of 4 bits, which there are where it is not empty.
    step, base : float32
        A score is ``base + step * (sum of bytes)``, or base and a sum of table entries.
    most : int
        The largest sum of bytes.
    sums, row : ndarray of shape (64,), uint16 and float32
        Room.
    keys : ndarray of shape (n,), uint64
        Candidates, with room for 64 more than are kept.
    held, depth, threshold : int, int, float32
        As for ``keep_best``.

    Returns
    -------
    held : int
        Candidates now.
    threshold : float32
        What a candidate must exceed now.
    """
    nibbles, biased, table, into = small.shape[0], bias.shape[0], small.ctypes.data, sums.ctypes.data
    for b in range(begin, end):
        if words[b] == np.uint64(0):
            continue
        if held + 64 > keys.shape[0]:
            held, threshold = keep_best(keys, held, depth, threshold)
        if nibbles and not biased:
            least = int(min(max(np.floor((threshold - base) / step) + 1, 0.0), 1e6))
            if least > most:
                # Nothing in this list can exceed it, and the threshold only rises.
                break
            mask = nibble_sums(table, codes[b].ctypes.data, nibbles, least, into)
            held = append_marked(sums, step, base, mask & words[b], 64 * b, keys, held)
            continue
        if nibbles:
            nibble_sums(table, codes[b].ctypes.data, nibbles, 0, into)
            for j in range(64):
                row[j] = base + step * np.float32(sums[j])
        else:
            _wide_sums(tables, codes[b], base, row)
        for j in range(64 if biased else 0):
            row[j] -= bias[64 * b + j]
        mask = above_64(row.ctypes.data, threshold)
        held = append_marked(row, np.float32(1), np.float32(0), mask & words[b], 64 * b, keys, held)
    return held, threshold


@kernel
def fetch_block(codes: Any, block: Any) -> None:
    """Ask for a block ahead.

    Parameters
    ----------
    codes : ndarray of shape (blocks, bytes, 64), uint8
        The codes.
    block : int
        Which; beyond the last does no harm.
    """
    first = codes.ctypes.data + block * codes.shape[1] * 64
    for i in range(codes.shape[1]):
        prefetch(first + 64 * i)
