"""What the DNS knows of a stranger's address and names: lists (RFC 5782), names that lead back, and what it says in EHLO."""
