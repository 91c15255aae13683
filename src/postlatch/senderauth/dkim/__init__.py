"""DKIM: signatures over header and body, checked and made. RFC 6376, 8301, 8463, 8616."""
