"""The Streamlit pages; they read db.queries."""
