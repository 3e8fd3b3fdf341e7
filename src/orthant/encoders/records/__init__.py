"""JSON records as vectors: every key turns what it holds by a rotation of its own, and the turned parts are added.

Records (dicts of any nesting), or parts of them as queries, enter; float32 vectors and accounts of them leave.
Never trains a network, never guesses a text encoder, never reads a collection.
Start with `encoder.RecordEncoder`, then `leaves` and `binding`.
"""
