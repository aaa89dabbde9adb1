"""Telling backends what happens: events, endpoints, and deliveries that arrive at least once and in order."""
