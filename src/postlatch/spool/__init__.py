"""The durable queue: bodies, claims, outcomes. What was answered 250 stays here until it is final."""
