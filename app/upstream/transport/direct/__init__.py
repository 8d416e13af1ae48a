"""The data plane's own HTTP/1.1 client: nothing but the socket, the parser and the pool."""
