"""HTTP/1.1 as uvicorn with httptools speaks it, down to the order of the headers."""
