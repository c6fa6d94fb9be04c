"""Reading error logs: any encoding and size, in one pass; what they say is judged by the rules."""
