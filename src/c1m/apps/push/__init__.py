"""The push server (`c1m serve push`)."""
