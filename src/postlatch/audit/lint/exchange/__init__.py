"""Exchange, from exported connectors, rights and domains: the connector with the narrowest range takes the client."""

from postlatch.audit.lint.exchange.check import lint

__all__ = ["lint"]
