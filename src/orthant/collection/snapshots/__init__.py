"""Named states of a collection that can be opened, gone back to and carried away.

An opened store and a name, or an archive, enter; a snapshot's folder, a restored generation or one file leave.
Never writes into a file that a snapshot names, and never changes the collection before what it restores is verified.
Start with `making`, then `restoring`; `archive` is the single file.
"""
