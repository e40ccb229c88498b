//! The stage classify-patient-data.
