"""What a Koji hub knows: images, what is in them, and what its tags offer."""
