"""Attention: scores, softmax, weighted sum, heads, masks; one implementation for every model."""
