"""Who really sent this: SPF, DKIM, DMARC and ARC, given a resolver; and the signatures of our own mail. Returns facts."""
