"""The detect function."""
