"""Other people's TLS against c1m's, as clients of its servers and as servers of its load client."""
