"""The pure floor: it decides. Text becomes a manifest, a manifest and facts become a plan; nothing here acts."""
