//! The words of the RFCs: addresses, paths, envelopes, messages, replies. No I/O, no settings.

pub mod address;
pub mod dkim;
pub mod edit;
pub mod envelope;
pub mod header;
pub mod mailbox_list;
pub mod message;
pub mod mime;
pub mod notice;
pub mod path;
pub mod phrase;
pub mod priority;
pub mod prove;
pub mod redact;
pub mod report;
pub mod scram;
pub mod shown;
pub mod sms;
pub mod splice;
pub mod status;
pub mod trace;
pub mod transaction;

pub use address::{AddressError, AddressLiteral, Domain, Host, LocalPart, Mailbox};
pub use edit::{Audience, Edit, EditKind, Taken};
pub use envelope::{BodyType, EnvId, Envelope, Notify, Orcpt, Recipient, Ret};
pub use header::{Header, HeaderField};
pub use mailbox_list::mailbox_list;
pub use message::Message;
pub use path::{ForwardPath, ReversePath};
pub use phrase::phrase;
pub use priority::Priority;
pub use status::{Class, EnhancedStatusCode, Reply, ReplyCode};
pub use transaction::{CertificateChain, Client, MailTransaction, Service, TlsSession};
