"""Tells receivers of the ends of jobs, by the Standard Webhooks specification, out of the ledger's outbox."""
