"""The machine that measures: its facts, its state, what disturbs it."""
