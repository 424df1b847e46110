"""What the pages draw; the only home of Altair."""
