//! Where the process, the machine or the network may stop, and what follows: for mail that goes by the queue, and for
//! mail that goes straight through.
//!
//! Two things hold at every point. **Nothing that a client was told 250 of is lost**: the 250 follows the commit that has
//! the message, or the next hop's own 250 and the commit of its record. **A second copy comes about in one way only**:
//! somebody took a message and the one before it in the chain never heard so. No protocol can avoid that (RFC 1047); the
//! pages below say where it can happen and how wide the gap is. "Stops" is `kill -9`, a power cut or a panic: a
//! shutdown that is asked for is at the end of this page.
//!
//! # By the queue
//!
//! ```text
//!   client          gateway                        disk                    next hop
//!     │ data, dot ──►│
//!     │           1  │ policy, edits, signature
//!     │           2  │ accept ───────────────────►│ commit
//!     │           3  │
//!     │◄──────── 250 │
//!     │           4  │ attempt ─────────────────────────────────────────────►│
//!     │           5  │                                                       │ has it
//!     │              │◄───────────────────────────────────────────────── 250 │
//!     │           6  │ settle ───────────────────►│ commit
//!     │           7  │
//! ```
//!
//! | stops at | the client | the message | copies |
//! |---|---|---|---|
//! | 1, before `accept` | has no reply, sends again | nowhere; a large one may leave a file in `spool/`, which the next start removes | one |
//! | 2, in the commit | has no reply, sends again | in the queue, or not, never half | one; two if the commit held |
//! | 3, after the commit, before the client has the 250 | has no reply, sends again | in the queue | two, with two references. With an `X-Postern-Idempotency-Key` one: the client hears 250 and the first reference |
//! | 4, before the next hop has the final dot | was told 250 | leased; the next start makes it due | one |
//! | 5, the next hop has it, its reply was not seen | was told 250 | leased; due again at the next start | two, with one reference |
//! | 6, the reply was seen, `settle` not committed | was told 250 | leased; due again at the next start | two, with one reference |
//! | 7, after the commit | was told 250 | gone from the queue; the trail has its delivery | one |
//!
//! Between 6 and 7 lie the commit and up to two milliseconds before it: nobody waits for a `settle`, and so it goes with the
//! next message that is accepted, if one comes that soon. How many deliveries one stop may repeat has the same bound as
//! before: those in hand.
//!
//! A panic while one message is worked on stops that work alone, and the process goes on: what it had leased is due again when
//! its lease ends, after half an hour, with the copies of its row. One in a write to the queue takes that write back.
//!
//! [`queue_states`](super::queue_states) has the transactions themselves.
//!
//! # Straight through
//!
//! A listener with `straight-through = true` may deliver while the client waits. A message goes that way if all its
//! recipients get it by one route (that does not say `straight-through = false`), at one next hop, under one demand for
//! TLS; if nothing else comes of it (nobody is held, quarantined, refused or encrypted for, it is no text message, there is one copy, no
//! notice, no list with an owner, no report of success asked for, no idempotency key); and if the next hop has a place
//! free, nobody waits for it in the scheduler's hands, and it has not kept a client waiting within the last 30 seconds; and if
//! the policy that decided is still the one in force (by way of the queue it would be asked again). It is
//! then the same attempt that the queue would make: same route, TLS, DANE, MTA-STS, REQUIRETLS, signature, `Received` field,
//! pool of connections and limits. What differs is when something is written down:
//!
//! ```text
//!   client          gateway                        disk                    next hop
//!     │ data, dot ──►│
//!     │           1  │ policy, edits, signature
//!     │           2  │ attempt ─────────────────────────────────────────────►│
//!     │           3  │                                                       │ has it
//!     │              │◄─────────────────────────────────────────── 250 / 550 │
//!     │           4  │ record ───────────────────►│ commit (no message)
//!     │           5  │
//!     │◄─ 250 / 550  │
//! ```
//!
//! | stops at | the client | the message | copies |
//! |---|---|---|---|
//! | 1, before the attempt | has no reply, sends again | with the client alone | one |
//! | 2, before the next hop has the final dot | has no reply, sends again | with the client alone | one |
//! | 3, the next hop has it, its reply was not seen | has no reply, sends again | with the next hop and the client | two, with two references. The first is in no audit trail of ours: its `Received` field is at the next hop |
//! | 4, the reply was seen, the record not committed | has no reply, sends again | as 3 | as 3 |
//! | 5, the record is committed, the client has no reply | sends again | as 3 | two, with two references, both on record |
//! | 3 to 5 where the next hop refused it | sends again, and is refused again | with the client alone | none |
//!
//! So straight through has one commit and one copy on disk less, and a crash sends nothing that the client does not send
//! itself. Against that, what a crash leaves of a copy at points 3 and 4 is in the next hop's books and not in ours, and
//! the client waits for two machines in place of one. That is why it is **off as shipped**: where patient data leaves, a
//! trail without gaps is worth more than a write. Turn it on where the client is a mail server with a queue of its own.
//!
//! # What falls back to the queue, and when
//!
//! The client's 250 then follows the commit of `accept`, as by the queue, and says so (`accepted: PX-…`; the other says `sent
//! on: PX-…`).
//!
//! | the next hop | the message | copies |
//! |---|---|---|
//! | defers it (4xx, at any command), cannot be reached, cannot be secured as it must be | goes into the queue with the attempt counted: it is tried again when the route says, not at once | one |
//! | breaks off before the final dot | as above | one |
//! | breaks off after the final dot, without a reply | as above. It may have it: nobody can know | one or two, with one reference (more where it answered nothing: below) |
//! | says nothing within `straight-through-wait` | goes into the queue, leased to the attempt that is still under way: when the next hop answers, that is settled. The attempt is not cut off, and not made again | one |
//! | takes it for some recipients and not for others | goes into the queue with what came of each: who has it gets no second copy; who is put off is tried again; who is refused is a failed delivery with a report, or is quarantined where nobody is to be told (a sender who is not ours, a null reverse path) | one for each recipient |
//! | refuses it for all (5xx) | is refused: the client hears the next hop's words, code and enhanced code with our reference, and makes the bounce | none |
//!
//! Two windows are those of the queue: between the commit of `accept` and that of the settlement which follows it, a crash
//! makes the message due, and what the next hop took is sent again (point 6 above).
//!
//! # A next hop that answers nothing and breaks off
//!
//! A next hop with `PIPELINING` and `CHUNKING` gets a small message in one go, behind `MAIL FROM` and `RCPT TO`, before
//! it answers any of them. If the connection then breaks, or its time ends, without a single answer to these, it was most
//! likely dead before, and the attempt goes on at once with the next address: that is how mail passes by a machine that
//! is down. A next hop that reads all of it, keeps it, and says nothing at all (a fault: the answer to `MAIL FROM` is
//! missing as well) gets a copy at each address that does so: up to six in an attempt, the most that are tried, and one
//! more on a connection that was kept from before, all with one reference. The next attempts may do so again. This holds
//! by the queue and straight through. Where one answer came, or the message goes by `DATA`, an attempt makes one copy at
//! most. `chunking = false` in the route keeps to that.
//!
//! # When nothing can be written
//!
//! * The disk is nearly full before the attempt: no attempt is made, and the client hears 452, as by the queue.
//! * The record fails after the next hop's reply: the client hears 451 and sends again, so there are two copies; from then on nothing goes straight
//!   until the queue has taken a message again, so there is never a third for want of a record.
//! * The queue fails after a deferral: the client hears the next hop's own 4xx with our reference. After an attempt that
//!   is slow or of two minds it hears 451 or 452, and sends again what some may have: at most two copies.
//!
//! # A client that hangs up
//!
//! After the final dot nothing depends on the client any more: the attempt goes on, is recorded or queued, and the
//! message arrives. A client that heard nothing sends again: at most one second copy for each time that it does.
//!
//! # A shutdown that is asked for
//!
//! Once SIGTERM has come nothing is begun straight through: what comes in on open sessions goes into the queue. Attempts that
//! were under way get up to half a minute; their clients hear what came of them. What is cut off then is given back to
//! the queue if it is there, and is otherwise with the client, who had no reply.
//!
//! # How it is shown
//!
//! `tests/crash.rs` stops the process between any two statements of the queue's writer. `tests/straight.rs` has each line of the
//! fallback, and a record that fails. `tests/kill_straight.rs` kills the gateway at random moments under both kinds of load, compares the clients' book with the next hop's
//! and the audit trail, and wants a reason for every second copy.
