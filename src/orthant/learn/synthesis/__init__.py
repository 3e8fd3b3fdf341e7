"""Texts written by a generator, as training pairs.

Records and a template enter; pairs, and a reason for every rejected text, leave.
Never sends a text anywhere but to the endpoint it was given, never logs a key.
Start with `pipeline`; `generator` is the protocol, `rule_based` needs no model.
"""
