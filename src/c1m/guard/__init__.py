"""What a server lets in, and whom it lets stay: limits, kept around an engine."""
