//! Contracts and secrets of applications.
