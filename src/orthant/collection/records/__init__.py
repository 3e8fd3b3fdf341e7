"""Spaces whose encoder reads whole records.

Metadata and texts of records, and parts of records as queries, enter; items for the encoder and query vectors leave.
Never encodes on its own, never decides what of a record counts: that is the encoder's schema.
Start with `items`.
"""
