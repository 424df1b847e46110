"""Turbo caches in mlx-lm's own commands, and what a server needs beside them."""
