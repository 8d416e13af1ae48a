"""What uvicorn lacks: deadlines, size limits, hang-ups, two listeners and an orderly end."""
