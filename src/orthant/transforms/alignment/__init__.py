"""From one vector space to another: maps learned from the same items encoded twice.

Pairs of vectors enter, one row of each encoder per item; vectors of the other space leave.
Never runs an encoder and never looks at texts.
Start with `spaces`, which says what every map can do; `procrustes` and `low_rank` are the usual choices.
"""
