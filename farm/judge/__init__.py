"""The judge, pure: pairs, verdicts, change points; no database, nothing else of farm."""
