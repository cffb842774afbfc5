"""The application: what happens between an accepted delivery and proven traffic, and what keeps it that way."""
