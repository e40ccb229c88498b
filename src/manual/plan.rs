//! What `postern plan DIR` can tell, and what it cannot.
//!
//! The gateway keeps no content of mail that went on. So there are two ways of judging again, and the answer says how
//! many messages were judged by which:
//!
//! | | wholly | by envelope and record |
//! |---|---|---|
//! | which mail | what waits in the queue or is kept apart, whenever it came | decided or refused since `--since`, and gone |
//! | client, account, time | the audit trail | the audit trail |
//! | recipients: names, lists, served, closed; contract of the account | each policy | each policy |
//! | secure domains, their dates, verdicts for patient data | each policy | each policy |
//! | what patient data is found | each policy, on the octets | as on record; what an account declares, each policy |
//! | whether the subject asks for encryption | each policy | as on record |
//! | attachments and links | each policy, without scanners | not asked |
//! | spam | symbols on record, weights and thresholds of each policy; rules that are new are asked | the same, without new rules |
//! | SPF, DKIM, ARC | not asked; DMARC as the message says it | not asked |
//! | legal entity of the footer | each policy | each policy, where the one on record follows from the envelope |
//! | marks and other edits | each policy | not asked |
//! | route and TLS | each folder's routes | each folder's routes |
//!
//! A message in the queue bears the gateway's own edits. Its mark (`Sensitivity`, words before the subject) is taken off
//! again before it is judged: it would count as patient data.
//!
//! # Never a guess
//!
//! A difference is one between the two replays, never one between a replay and the record. What neither replay can know
//! is the same in both, and falls out. And the replay by the policy in force must come to what is on record, mailbox
//! and verdict; where it does not, something decided that cannot be asked again, and the recipient is counted as one of whom
//! it cannot be told:
//!
//! | word | means |
//! |---|---|
//! | `other-policy` | an earlier policy decided; the one in force would have decided otherwise |
//! | `not-on-record` | content, links, attachments, who the author is, or a list decided |
//! | `hangs-on-content` | it comes out one way or another, by what is not on record |
//! | `text-message` | the recipient is a number, which is on no record in clear |
//! | `not-opened` | a file in the message could not be opened for now |
//!
//! What is not on record is tried out: all that could have been and that leads, by the policy in force, to what is on
//! record for all recipients of the message. Only if the changed policy says the same in each case is it told; if it would
//! have been different in each case, but not in the same way, the verdict is `hold or encrypt`. Two things are tried:
//! whether the subject asks for encryption, of mail that came before that was on record (`direction` and `secure-keyword` among the
//! facts of the audit trail); and whether the author is one whose mail is not kept back on its score, where DMARC
//! vouched for somebody or a list spoke.
//!
//! What hides behind a worse verdict stays hidden: of a message that was held it is not on record that another rule, which
//! asks content, would have held it as well.
