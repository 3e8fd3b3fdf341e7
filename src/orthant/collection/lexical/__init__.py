"""The lexical leg: words to BM25-ranked rows.

Texts and queries enter; rows and scores leave.
Never reads the store; statistics are exact over live records, under deletes too.
Start with `index.Lexical`, then `analysis`.
"""
