"""The specification of envfix, as tests."""
