"""The coordinator: reads the inventory, dispatches jobs, judges records."""
