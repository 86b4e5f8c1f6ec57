"""What is wrong with this installation, and what to do: one module a subject, each asks first and judges apart."""
