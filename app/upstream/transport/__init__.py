"""How bytes get to an endpoint and back: two transports, one promise."""
