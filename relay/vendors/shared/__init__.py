"""What adapters of several vendors need: names, numbers and data as they cross a protocol."""
