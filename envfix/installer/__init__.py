"""Installs plans: one file per installer behind ``interface.py``; the only part that changes environments."""
