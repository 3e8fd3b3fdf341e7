"""Token spaces: any number of vectors per record, compared by MaxSim.

Texts or token vectors enter; exact scores, and which token met which, leave.
Never stores (that is `storage/`), never fuses (that is `searching`).
Start with `index.TokenIndex`.
"""
