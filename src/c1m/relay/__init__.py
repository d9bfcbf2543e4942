"""Publications by way of a broker (`--relay`): each reaches the subscribers of all servers."""
