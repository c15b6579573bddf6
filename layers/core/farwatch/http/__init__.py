"""Farwatch: http."""
