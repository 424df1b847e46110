"""One file a benchmark: docstring, ``DEFAULTS``, ``run(model, tokenizer, make_cache, *, ...)``.

``run`` yields samples, and dicts of what it says of itself for the record's ``details``.
``MODEL_FREE = True`` marks one that measures the bare machine and gets None for model, tokenizer
and make_cache. ``LOADER`` names the module of ``worker/models`` that loads its models, if they are
not text models of mlx-lm; its cache must then be of the same loader.
``RESUMABLE = True`` marks one that takes a fourth argument, the job's journal
(``worker.process.journal``), and so goes on where it was killed.
"""
