//! The stages of the policy, in the order in which they run (`design.md` §1).

pub mod authenticate_sender;
pub mod classify_patient_data;
pub mod footer;
pub mod mark;
pub mod resolve_recipients;
pub mod scan;
pub mod score_spam;
pub mod secure_domain;
