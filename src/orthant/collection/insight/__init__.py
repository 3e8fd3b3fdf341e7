"""Why a record is not in a result, and what queries look like over time.

A collection, a query and a record's id enter, or searches as they happen; explanations and reports leave.
Never changes a collection, and never stores a query's text unless asked.
Start with `why_not`, then `monitor`.
"""
