"""Several processes as one gateway: kept running, spoken to, and answering operators with one voice."""
