"""Word vectors judged by themselves: similarity, analogies, categories, outliers, and bias.

Words with vectors and judged words enter; reports and effect sizes leave.
Never trains and never changes a vector; words without a vector are missing, never zero.
Start with `words`, then `bias`.
"""

from __future__ import annotations
