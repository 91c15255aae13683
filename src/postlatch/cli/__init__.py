"""The command line: parses, calls, prints. ``build.build_cli`` makes it; nothing heavy is imported before a command runs."""
