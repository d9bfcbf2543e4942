"""The checks, one small file each, in the order in which they are shown."""
