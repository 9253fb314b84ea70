"""Torture: a server under load whose processes are killed and frozen at random, and what must hold afterwards."""
