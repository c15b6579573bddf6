"""The API function: every route that people and their programs use."""
