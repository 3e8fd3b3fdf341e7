"""Encoders replaced over HTTP: rehearsed, run beside searches, paused, committed, taken back.

Requests of administrators enter; figures, advice and progress leave.
Never loads an encoder that the operator did not allow, and never holds up a search.
Start with `runs`, then `routes`.
"""
