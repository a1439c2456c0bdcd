"""Behind labkit.data.load: addresses (catalog), files and downloads (files), readers (formats, pictures)."""
