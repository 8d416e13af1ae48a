"""Measures the gateway as callers meet it: a process between an upstream and a crowd, beside others of its kind."""
