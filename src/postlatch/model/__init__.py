"""Frozen values that every room speaks. Nothing here does I/O or knows a policy."""
