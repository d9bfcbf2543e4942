"""Who hears what: channels of subscribers as arrays, and what is on its way to them. Pure."""
