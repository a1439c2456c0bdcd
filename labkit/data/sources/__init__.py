"""Where the datasets come from: files, formats, addresses."""
