"""ARC: what earlier relays saw, as a hint. Verified only, never sealed. RFC 8617."""
