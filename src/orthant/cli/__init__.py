"""The `orthant` command: one module per verb.

Command lines enter; tables or one JSON object leave on stdout, logs on stderr.
Never holds logic that Python users could not call.
Start with `main`.
"""
