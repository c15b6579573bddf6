"""The process function."""
