"""The library: campaigns, decisions, the record, learning. No HTTP server, no simulation."""
