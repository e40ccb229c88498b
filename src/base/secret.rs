//! Secrets: named by file or environment variable, never printed.
