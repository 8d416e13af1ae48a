"""Mechanisms that keep one bad endpoint from becoming everybody's problem."""
