"""How the reference model was made; no host needs it."""
