"""Readers of what other vector stores keep: Chroma, LanceDB, Qdrant, pgvector, FAISS and hnswlib.

Folders, files and addresses enter; batches of ids, texts, fields and vectors leave, as the source has them.
Never writes into a source, never runs code found in one, never judges whether a collection takes what it found.
Start with `opening`.
"""
