"""The parts of `IVF`: inverted lists of codes, searching them, and their files.

Checked arrays enter; arrays, places and `Hits` leave.
Never sees users' input unchecked, documents or filters as text.
Start with `lists`, what an inverted file is made of.
"""
