"""The back office in a real browser, on real processes: `make test-browser`."""
