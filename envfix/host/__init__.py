"""The one door to the outside: real, recording and replaying hosts, and package indexes."""
