"""Codes of a few bits for each dimension: packing, inner products by bit counts, scans by byte shuffles.

Levels, codes and tables enter; codes, sums and the best rows leave.
Never learns, never validates.
Start with `planes`; `blocks` is the layout that `lookups` scans.
"""
