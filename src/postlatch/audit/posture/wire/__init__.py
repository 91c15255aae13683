"""Connections to mail servers: enough SMTP to begin TLS, and enough TLS to see what is offered."""
