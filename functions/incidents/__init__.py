"""Signals into incidents."""
