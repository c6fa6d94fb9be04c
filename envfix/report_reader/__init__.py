"""Reads reports that people paste: torch's own ``collect_env`` text becomes the facts that envfix judges and plans for."""
