"""Entry points for fuzzers: whatever the bytes, a value or the module's one error."""
