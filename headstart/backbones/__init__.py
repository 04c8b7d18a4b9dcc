"""Pretrained networks: the table of them, building one, parting it."""
