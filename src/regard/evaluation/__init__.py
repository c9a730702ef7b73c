"""How good is it: metrics, alignment error, significance."""
