"""The parts of `Graph`: encoded vectors, links, their construction, upkeep and files.

Checked arrays enter; arrays and slots leave.
Never sees users' input unchecked, documents or filters as text.
Start with `state`, what a graph is made of.
"""
