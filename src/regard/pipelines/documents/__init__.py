"""Documents in, documents out: what is text is translated, all else stays as it is."""
