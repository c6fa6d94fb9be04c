"""Every record that travels between the five verbs: immutable, JSON-able, importing nothing but the errors."""
