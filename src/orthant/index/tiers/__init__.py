"""The parts of `TwoTier`: rows on disk and how they are read, codes in memory, what fits a budget, files.

Checked arrays enter; row numbers, scores and counts of reads leave.
Never keeps full vectors in memory, never sees documents.
Start with `row_files`, where vectors lie; `light` is what memory holds.
"""
