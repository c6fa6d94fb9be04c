"""Decides: from a target, a goal and the indexes that answer to a plan. Pure: no files, no network, no environment."""
