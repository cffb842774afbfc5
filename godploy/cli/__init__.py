"""The command line: one program for the server itself, for a working tree, and for talking to a server."""
