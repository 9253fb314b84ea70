"""Clients, credits, jobs and the request log, in one SQLite file.

The functions here take a `sqlite3.Connection` inside a transaction and do one thing in plain SQL; `database` decides
when transactions begin and commit. Grants, charges and refunds are append-only ledger entries, and a trigger keeps each
client's balance equal to their sum.
"""
