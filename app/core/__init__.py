"""The words of the house: values, sockets and errors; no I/O, no framework."""
