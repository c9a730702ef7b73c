"""Attention one can look at without a server: plots and self-contained pages."""
