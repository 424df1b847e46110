"""Runs, gates, nights, bisect: where plan, dispatch, judge and database meet."""
