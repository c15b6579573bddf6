"""Farwatch: wire."""
