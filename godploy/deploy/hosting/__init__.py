"""What Godploy does at git providers: asks them, by an organization's connection, and tells them."""
