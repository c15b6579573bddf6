"""Farwatch: functions."""
