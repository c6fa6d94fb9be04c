"""Proves an environment: a ladder from "the interpreter starts" to "YOLOv8 predicts", climbed by the target itself."""
