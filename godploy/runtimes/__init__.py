"""Where workloads live: one protocol in deployment words, the engine (Docker) and a fake for tests."""
