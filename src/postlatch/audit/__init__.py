"""The outside opinion: is a mail server an open relay, why, and what is the fix? It shares no code with what it judges."""
