//! Names to addresses, mail exchangers and texts: every query with a deadline and under a cap.
