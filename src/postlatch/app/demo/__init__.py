"""`postlatch demo`: a real relay on free ports, a sink for what leaves it, and traffic: friends, a printer, spammers."""
