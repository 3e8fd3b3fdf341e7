"""What records are read from: JSON lines, delimited text, Parquet, folders of texts, tables and iterators.

Paths and tables enter; blocks of rows leave.
Never decides which field is what: that is settled in `orthant.datasets.records`.
Start with `rows`.
"""
