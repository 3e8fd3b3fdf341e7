"""What a collection was told to do by itself, committed with it.

Settings that a user stored enter; rows with checksums in SQLite, and the settings again, leave.
Never decides what a setting should be, and never touches records.
Start with `fusion`.
"""
