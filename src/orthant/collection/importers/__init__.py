"""Moving in: what another vector store holds is sorted into what a collection takes and what it cannot.

Readers of `datasets.foreign` enter; committed records and a report leave.
Never writes before the whole source has been looked through, never drops a value without counting it.
Start with `moving`.
"""
