"""`nexus doctor`: what an installation consists of, how it is, and what to do."""
