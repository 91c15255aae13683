"""The configuration: read, checked as a whole, explained. A problem names its file, line, key and what would be right."""
