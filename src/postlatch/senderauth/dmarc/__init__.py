"""DMARC: does what SPF and DKIM show belong to the author's domain, and what does that domain ask for? RFC 9989."""
