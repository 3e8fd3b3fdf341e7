"""Orthant inside other frameworks: LangChain, LlamaIndex, Haystack, mteb and scikit-learn.

What enters: a collection or an encoder, and the framework's own documents, queries and filters.
What leaves: objects that the framework takes for its own store, embedder, retriever, model or transformer.
What it never does: store anything itself, translate a filter approximately, or import a framework that is not used.
Start reading in ``common.py`` (what all of them share) and ``filters.py``; then one module per framework.
"""
