"""Farwatch: forecasting."""
