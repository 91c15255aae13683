"""Reads the configuration of other mail servers, one file or folder a server: who could relay by it, and the line to change."""
