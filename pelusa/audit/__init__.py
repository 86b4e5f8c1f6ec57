"""The audit: who did what, when, from where, and what it was before; written once, never changed."""
