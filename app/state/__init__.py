"""Counters that several gateways may share: one step decides over all the limits of a call."""
