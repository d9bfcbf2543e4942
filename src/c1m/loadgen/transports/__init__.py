"""What stands between connections and a scenario: handshakes, frames, events. Pure."""
