"""SPF: may this address send for this domain? RFC 7208."""
