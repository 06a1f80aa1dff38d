"""The known answers that are near a prompt: by text, by slots and by vector."""
