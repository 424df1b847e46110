"""What is to be done: hosts, suites, builds, commits."""
