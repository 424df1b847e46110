"""One file a command: docstring, ``add_arguments(parser)``, ``main(args) -> exit code``."""
