"""The HTTP service: it translates requests into calls of `optimizer` and holds no rules of its own."""
