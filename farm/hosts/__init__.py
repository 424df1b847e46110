"""Other machines: SSH, what is put on a host, and how it is."""
