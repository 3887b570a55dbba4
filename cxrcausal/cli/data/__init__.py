"""`cxrcausal data`: from a download folder to tables and shards, one file per command."""
