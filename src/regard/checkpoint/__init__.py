"""The model folder and the run folder: written whole or not at all, and checked byte by byte before use."""
