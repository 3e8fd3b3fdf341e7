"""The verb that shrinks what searches hold in memory.

Arguments of the command line enter; tables, JSON and plots leave.
Never applies anything without --apply.
Start with `compress`.
"""
