"""HTTP side of the extractor."""
