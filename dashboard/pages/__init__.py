"""The pages, one module each with a ``page`` function."""
