"""Metadata as typed columns, and where-expressions compiled to bitmaps over them.

JSON records and where-expressions enter; bitmaps of rows, field statistics and facets leave.
Never touches vectors or texts.
Start with `table.Columns`, then `where`.
"""
