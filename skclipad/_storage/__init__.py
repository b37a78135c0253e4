"""What is kept on disk: atomic files, locks, the store of embeddings."""
