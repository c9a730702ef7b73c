"""One file per verb. `main` finds the verb and imports only that."""
