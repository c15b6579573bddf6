"""Farwatch: local."""
