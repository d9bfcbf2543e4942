"""The push server's own matters, without I/O: who hears what, what was missed, who may. Pure."""
