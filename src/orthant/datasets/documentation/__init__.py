"""The parts of the documentation reader: parse one file, find public names, look at compiled modules.

Source files enter; documented items with public names leave.
Never imports the packages it reads, NumPy and the interpreter's own modules excepted.
Start with `parse`; users come through `orthant.datasets.read_python_documentation`.
"""
