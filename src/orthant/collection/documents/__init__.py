"""Folders of documents in a collection: what changed is divided into chunks and written, passages are put together.

Paths and chunk ids enter; commits, reports and passages leave.
Never reads a file format itself: that is the business of `orthant.datasets.documents`.
Start with `ingestion`.
"""
