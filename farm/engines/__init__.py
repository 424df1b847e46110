"""How lines reach a host: local processes, SSH, Ray."""
