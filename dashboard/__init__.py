"""Farwatch: dashboard."""
