"""Text in, text out; and a whole training run."""
