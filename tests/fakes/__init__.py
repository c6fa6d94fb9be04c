"""Pretended machines as processes see them: a fake NVIDIA driver, fake compilers, made-up environments."""
