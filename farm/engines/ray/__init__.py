"""The Ray engine, the only home of Ray."""
