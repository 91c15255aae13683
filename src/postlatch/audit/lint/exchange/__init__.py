"""Exchange, from exported connectors, permissions and domains: the connector with the narrowest range that fits takes the client."""

from postlatch.audit.lint.exchange.check import lint

__all__ = ["lint"]
