"""What can be asked over HTTP, one module per kind of request.

A :class:`orthant.server.service.Service` enters; ``APIRouter`` objects leave, made by functions named ``routes``.
Never holds state of its own, and never reads a body before the key was checked.
Start with `searching`.
"""
