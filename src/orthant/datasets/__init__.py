"""Readers: data sets under ORTHANT_DATA, record and vector files, the interpreter's own documentation.

Paths and names enter; records, arrays and judgement tables leave.
Never downloads, never writes into the data folder.
Start with `registry`.
"""
