"""Where datasets come from: addresses (catalog), files and downloads (files), readers (formats, pictures)."""
