"""Exchanges that never happened, as plausible as demos, benchmarks and tests need them. Nothing here calls anybody."""
