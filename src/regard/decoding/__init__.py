"""Search: greedy, beam, sampling, constraints, ensembles. Knows the protocol, not the models."""
