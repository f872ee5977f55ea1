"""Go's function table, told function by function, and the words of Go's data (FORMAT.md, stream 12)."""
