"""``orthant serve``, ``orthant keys`` and ``orthant mcp``: collections for other programs, and who may use them.

Folders and names of keys enter; a running server, or a table, leaves.
Never answers a request itself: that is the business of ``orthant.server``.
Start with `serve`.
"""
