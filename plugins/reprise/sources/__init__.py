"""Where data comes from: an inbox in a folder, on an object store, or a list of addresses."""
