"""Backups of the three databases: made while everything runs, sealed, and put back when nothing does."""
