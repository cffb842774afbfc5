"""Git providers: where people keep their code. One module a provider, each pure: see `protocol`."""
