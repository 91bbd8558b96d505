//! Certificates of every kind, and what each is worth.
