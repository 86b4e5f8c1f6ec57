"""Somebody knows: who lives, what lags, what stands in the way of trading, and who is told."""
