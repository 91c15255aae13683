"""``postlatch audit posture``: what the DNS and the TLS of a mail domain show to everybody."""
