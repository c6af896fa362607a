"""The stateless HTTP service as an ASGI app; how it is run as a process is not here."""
