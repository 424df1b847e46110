"""What the pages say, computed: pure, without Streamlit and charts."""
