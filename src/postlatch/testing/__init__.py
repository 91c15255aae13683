"""Fakes for tests, ours and yours: time, DNS and conversations as values. Public and documented in docs/testing.md."""
