"""The Streamlit dashboard: a client of the HTTP and WebSocket interfaces, and nothing more."""
