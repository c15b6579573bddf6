"""Farwatch: services."""
