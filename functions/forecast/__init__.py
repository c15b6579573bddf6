"""The forecast function."""
