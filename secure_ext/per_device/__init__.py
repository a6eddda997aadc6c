"""One board's own keys: made, used, sealed or destroyed; nothing that all boards share."""
