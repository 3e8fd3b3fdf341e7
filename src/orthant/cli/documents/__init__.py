"""The part of ``orthant add`` that indexes documents.

Folders and settings enter; a table or one JSON object leaves.
Never reads or divides a document itself: that is the business of `Collection.add_documents`.
Start with `adding`.
"""
