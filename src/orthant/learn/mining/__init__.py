"""Hard negatives and soft labels, found with any index.

Queries, their relevant ids and an index enter; chosen negatives and a reason for every rejected candidate leave.
Never builds an index, never invents a negative.
Start with `negatives`; `rules` says what is rejected, `soft_labels` what a teacher adds.
"""
