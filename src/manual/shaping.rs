//! Shaping: how much goes onward at once, to whom first, and what happens when a next hop is not well.
//!
//! # Who may start
//!
//! Mail is grouped by *destination*: a smart host, an LMTP server, or a domain by its mail exchangers. Each has a row of
//! its own with what is under way and what waits. An attempt starts when all of this allows it:
//!
//! | bound | by |
//! |---|---|
//! | attempts at once at a destination | `connections` of the route, `[[shaping]] destinations` |
//! | the same, as found out | 5 at first, one more with each answer, half with each silence; after a 421 as many as went on beside it, one more after 8 good ones for each |
//! | attempts at once of an account or an address of ours | `[[shaping]] account`, `[[shaping]] source` |
//! | connections open at once, those that wait for the next message among them | `connections` of all these; one that waits is closed where another is wanted |
//! | attempts at once to all destinations | `[delivery] connections`; from the half of it on each destination has its part of three quarters and no more |
//! | the pace | `rate`, likewise for a destination, an account or an address; what several destinations share goes to them by turns |
//! | recipients of one transaction | `recipients-at-once`; fewer where a next hop said 452 4.5.3 |
//! | messages on one connection | `messages-per-connection`; fewer where a next hop offers `MAILMAX` (RFC 9422) |
//!
//! What a destination is found to take lies within the bounds that are set, and is forgotten after a day. A restart does
//! not forget it: see below.
//!
//! # What a reply means for the next attempt
//!
//! | what came | whom it is about | the next attempt |
//! |---|---|---|
//! | 450, 451, 452 about a mailbox or a message | this delivery | as the schedule (`retry`) says |
//! | 4xx with the word greylisting | this delivery | the first after 5 min 10 s, then the schedule |
//! | 452 4.2.2, mailbox full | this delivery | the schedule, two steps further on |
//! | 452 4.5.3, too many recipients | this transaction | the others after 1 s, in parts of the number that was taken |
//! | 421; 4.3.1, 4.3.2, 4.4.5; 4.7.500 to 4.7.699; words like "too many connections", "throttled" | the next hop | less at once; if nothing else is under way nothing at all for 15 s, doubled up to 10 min. The message after 15 s, doubled each time it meets this, at most the schedule, and behind what has waited for the end of the pause. From the fourth pause in a row on what waits is put off without an attempt, each message by its own schedule, as where nobody is there |
//! | the same to a message that met it before, though others went well in between | this delivery | as the schedule says |
//! | no answer to the last octet: it may be there | this delivery | as the schedule says, also where others are called back |
//! | a connection that broke while a message went over it | this delivery | as the schedule says: of others it says nothing |
//! | no connection, no greeting, a connection that broke before MAIL had its answer, silence, no DNS; 5xx before any mail (greeting, log-in) | the next hop | the schedule; or sooner, see below |
//! | TLS that cannot be had, a limit of our own, a text message in quiet hours | nobody there | as it was: the schedule, the fallback of the secure domain, its own time |
//!
//! # When nobody is there
//!
//! After five attempts in a row that found nobody the circuit is *open*: nothing is tried at that destination but one
//! message, after 30 s, 1, 2, 4 and from then on every 5 min: not the one that has just failed, if another has come or
//! was due since, for a message may itself be why the next hop falls silent. All other mail for it is put off **without** an attempt
//! ("not tried: …"), each message by its own schedule: a sender hears of the delay in time, and what is too old
//! expires. With the first answer, whatever it says, the circuit is closed, and everything that waits for this
//! destination and got no answer from it at the last attempt is due at once (but for what it may have already), 500 deliveries every quarter of a second.
//!
//! # What a restart changes
//!
//! What was learnt of destinations is in `<data>/learnt.json`, written every five seconds where it has changed, and taken up
//! again at the start if it is less than a day old: what a destination takes at once, the end of a pause, and whose mail
//! is to be called back. A next hop that was away is looked for at once, by the first message for it, and not when
//! its next trial would have been: a restart is what people do once they have put something right. All other mail for
//! it is put off until that one has its answer, and called back then. Without the file (or after a crash that
//! outran it) five attempts find out again, and what was put off before is tried when its schedule says so; `postern queue retry
//! --all` tries it at once.
//!
//! # What a reload changes
//!
//! * **Routes.** Mail that waits is routed anew at its next attempt; what waits for its turn at that moment is put back
//!   and sorted again. An attempt under way is finished as it began.
//! * **Policy.** Each delivery knows which policy decided about it. If another one is in force, that one is asked before
//!   the next attempt, in what keeps patient data in bounds: what is in the message (`classify-patient-data`) and who may
//!   have it how (`secure-domain`). It can make things stricter and never looser:
//!
//! | the policy in force says | what happens |
//! |---|---|
//! | it may go | it goes, bound as it was |
//! | over verified TLS | it is bound to verified TLS from now on |
//! | encrypted | it goes to the encryption next hop |
//! | held, quarantined or refused | it is held, with a notice and an alarm |
//! | it cannot be judged now | it waits for the next attempt |
//!
//! What was held stays held. What a person has let go on goes on: no policy is asked about it again. Who sent a message is
//! not known any more when it waits, so rules about senders, accounts and spam are not asked again; nor are reports
//! of the gateway itself, nor text messages. Mail that was queued before this was built is not asked about either.
//!
//! # What goes first
//!
//! Urgent, normal, bulk: by `[[urgency]]`, else by the MT-PRIORITY (RFC 6710) of an account (3 and more, -3 and less). The
//! class orders what is leased and what waits at a destination. Where several classes have something due, of each 64
//! messages leased an eighth is left to each lower class, and of each eight attempts that start at a destination one to
//! each lower class that waits there: nothing waits for ever. A message that is handed over in memory as it is accepted
//! waits behind nothing but the row of its destination, in the order of classes; what is in the queue is leased beside it.
//! MT-PRIORITY goes along where the next hop offers it; a number from a client that has not authenticated is dropped.
//!
//! # When more comes than goes
//!
//! 256 messages, of 4 MiB together, may be in hand straight from their clients; what comes beyond goes into the queue, is
//! leased when there is a place for it, and is read back. While messages go out at 200 a second or more, a client waits for
//! such a place, a second at most, before its message is committed (Postfix: `in_flow_delay`): the stream that comes in takes
//! its pace from the one that goes out. Where a next hop is slow or away nobody waits: the queue is for that.
//!
//! # How a connection is made
//!
//! The addresses of a host are tried with the families by turns, IPv4 first, each 250 ms after the one before, and the
//! first that answers is taken (RFC 8305). With `source` a connection leaves from an address of that family from the
//! list; a family without one is not used.
