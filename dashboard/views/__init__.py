"""One page a file; ``dashboard/app.py`` lists them.

The folder must not be called ``pages``: Streamlit would open those by themselves, without the
password and the error messages of ``app.py``.
"""
