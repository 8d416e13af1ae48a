"""Everything heard: metrics, the access log, logs, and what happened to the latest calls."""
