"""Taught to the fuzzer: a settings document in TOML is sent as plain text is."""
import schemathesis

schemathesis.serializer.alias("application/toml", "text/plain")
