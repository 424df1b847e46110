"""Jobs out, records in: the dispatcher and its schedule; knows no engine and no database."""
