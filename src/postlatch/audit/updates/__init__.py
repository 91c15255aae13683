"""Is anything here out of date or known to be vulnerable? Versions against what is published of them; nothing is changed."""
