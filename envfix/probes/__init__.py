"""One file a fact: pure parsers, and a short ``probe`` that asks the host."""
