"""Farwatch: detection."""
