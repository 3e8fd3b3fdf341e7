"""What routes answer, for readers of the OpenAPI document: one shape per kind of answer.

Classes of reports and results enter; models that FastAPI turns into schemas leave.
Never converts or checks an answer on its way: tests compare what is sent with what is told.
Start with `shapes`.
"""
