"""One file a benchmark: docstring, ``DEFAULTS``, ``run(model, tokenizer, make_cache, *, ...)``.

``run`` yields samples. ``MODEL_FREE = True`` marks one that measures the bare machine and gets
None for model, tokenizer and make_cache.
"""
