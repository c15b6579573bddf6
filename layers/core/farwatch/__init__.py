"""Farwatch: farwatch."""
