"""What a person reads: tables, Markdown, progress."""
