"""Reports of others about our domains, and ours about theirs: DMARC aggregate reports (RFC 9990), TLS-RPT (RFC 8460)."""
