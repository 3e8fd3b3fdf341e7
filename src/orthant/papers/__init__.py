"""One record per research paper: where its method lives, its status and its runnable claims.

A key enters; a record or measured claims leave.
Never holds a method; methods live in their wings.
Start with `catalogue`.
"""
