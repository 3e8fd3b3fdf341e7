"""Centroids of rows: nearest centroid, k-means, scores from tables of codewords.

Validated float32 rows and centroids, or codes and tables, enter; labels, centroids and scores leave.
Never validates, never packs bytes, never keeps what it learned.
Start with `kmeans`; `nearest` is what every quantizer encodes with.
"""

from __future__ import annotations
