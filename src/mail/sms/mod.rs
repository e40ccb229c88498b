//! Text messages: whose number it is, what fits into how many of them, and how one travels through the queue.
//!
//! A recipient such as `07700900003@sms.bumbleton.example` is a number ([`MobileNumber`]). From the moment the
//! message is accepted nobody who looks on sees it: lists, the audit trail, logs and reports show a [`Pseudonym`],
//! `number-ending-003.7f3k2q9a4m@sms.bumbleton.example`. The number itself travels within the copy that goes into
//! the queue, the [`TextMessage`].

mod copy;
mod number;
mod pseudonym;
mod segment;

pub use copy::TextMessage;
pub use number::{MobileNumber, NumberError};
pub use pseudonym::Pseudonym;
pub use segment::{Alphabet, Measure, Sanitised, cut, measure, sanitise};
