"""A run as a whole: opened and planned before its stages, recorded and judged after them."""
