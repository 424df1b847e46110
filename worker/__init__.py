"""What runs on a host: one job down, one record up."""
