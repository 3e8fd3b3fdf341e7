"""Suiting a collection to the queries it gets: weights of its legs, and links of its graphs.

Queries, with or without relevant records, enter; reports with held-out figures, settings and graphs leave.
Never keeps what queries held back do not gain by; weights, only when asked.
Start with `learning.tune` for weights, with `methods_queries` for graphs.
"""
