"""A person as a neural codec: tracked state to code, code to mesh and texture."""
