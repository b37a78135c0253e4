"""CLIP: its backbones, and texts and images into embeddings; nothing of the method."""
