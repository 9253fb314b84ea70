"""Torture: a server under load whose processes are killed and frozen at random, and rules that must hold afterwards."""
