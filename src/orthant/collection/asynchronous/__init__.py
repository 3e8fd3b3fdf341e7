"""A collection for asyncio: the same calls, awaited, on threads of its own.

The calls of :class:`orthant.Collection` enter; their results leave, and the event loop never waits for one.
Never changes what a call does, and never leaves half of one behind when it is cancelled.
Start with `wrapper.AsyncCollection`; `lanes` decides how many calls run and how many wait.
"""
