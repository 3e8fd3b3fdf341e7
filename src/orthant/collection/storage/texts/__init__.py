"""Records as rows of SQLite: packed by a dictionary of strings that the collection's own records repeat.

Ids, texts and metadata enter; rows with checksums leave, and the records again.
Never decides which records are written, and never changes a row that is there.
Start with `records`; `dictionaries` says what is repeated.
"""
