"""Models of one operator each, with random attributes, at several operator-set versions."""

from . import elementwise, products, reductions, shaping, sliding
from .single import MAKERS, OPSETS, Single, exists, model_of

__all__ = [
    "MAKERS",
    "OPSETS",
    "Single",
    "elementwise",
    "exists",
    "model_of",
    "products",
    "reductions",
    "shaping",
    "sliding",
]
