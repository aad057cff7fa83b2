"""The operator's command line: parses, calls rooms, prints."""
