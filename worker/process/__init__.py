"""Fresh processes on a host, and their ends."""
