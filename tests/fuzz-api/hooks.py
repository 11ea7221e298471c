"""Taught to the fuzzer: a settings document in TOML is sent as plain text is, a backup as octets are."""
import schemathesis

schemathesis.serializer.alias("application/toml", "text/plain")
schemathesis.serializer.alias("application/x-tar", "application/octet-stream")
