"""Encoders over the network.

Texts, a model's name and the shape of a server enter; float32 vectors, a cost and a cache on disk leave.
Never stores or shows a key, never follows a redirect, never fills in for a vector that did not arrive.
Start with `encoder.ApiEncoder`, then `shapes`.
"""
