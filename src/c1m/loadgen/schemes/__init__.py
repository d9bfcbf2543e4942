"""What a target's URL means: one module a protocol, and the list of them in `known`."""
