//! The states of a delivery, and what a crash at each point costs.
//!
//! A *message* is octets and what `MAIL FROM` said, written once. A *delivery* is one recipient of it,
//! with its own clock: a row that changes. The message is there as long as one of its deliveries is.
//!
//! ```text
//! state        message row   delivery row            leaves by                              after a crash here
//! absent       no            no                      accept() commits                       the client keeps it and sends again
//! due          yes           due, from ready_at on   lease() commits; hold, fail            the next scheduler takes it
//! leased       yes           leased, until ready_at  settle() commits; give_back()          recover() frees it; at worst sent twice
//! held         yes           held, no ready_at       release, fail; the sender's own word   nothing to do
//! quarantined  yes           quarantined             release, delete                        nothing to do
//! settled      yes/no        gone                    the last sibling's goes with it        nothing to do: the audit trail knows
//! ```
//!
//! `accept` with a hand-off makes a delivery *leased* at once, in the same transaction: the message is
//! durable, its octets are still in memory, and no other scheduler takes it. A policy that holds or
//! quarantines makes the delivery so in `accept`; `settle` holds what no route for encryption takes, and what is
//! bound for a domain that is secure no more or that a changed policy forbids; `lease` holds a message that cannot be read. A retry asked for leaves a delivery *due*, from now on.
//!
//! # Each step is one transaction
//!
//! | transaction | writes | its caller may then |
//! |---|---|---|
//! | `accept` | message, deliveries, events; reports about recipients refused after the data | answer 250 |
//! | `lease` | `leased` and the end of the lease; *held* what cannot be read, its events, the notice of it | attempt |
//! | `settle` | the delivery's next state or its end, its event, the report to the sender | forget the attempt |
//! | `give_back` | *due* again, untried | forget the delivery |
//! | `recall` | *due* from now on, what waits for a next hop that is back (`manual::shaping`) | lease |
//! | `recover` | every lease ended, and what `bring_back` does | lease |
//! | `bring_back` | *due* from now on, what came while the clock was ahead | lease |
//! | `administer` | the change, its event, the report to the sender | tell the administrator |
//! | `release_by_sender` | *due* again, the code used up, its event, the notices of it | tell the sender |
//! | `record` | events | answer a refusal |
//!
//! One thread writes. It takes the jobs that wait, runs each but the first inside a savepoint of one transaction,
//! commits, and answers them all: a job that fails takes back its own writes alone, and no job is
//! answered before the commit that it is in. SQLite syncs its log at each commit
//! (`synchronous=FULL`), so an answer means: on the disk. PostgreSQL does so too (`synchronous_commit`, which is
//! set; a server with `fsync` off is refused), and on the disks of its synchronous standbys if it has any.
//!
//! # What a crash costs
//!
//! * **Before the commit of `accept`**: nothing was promised. A large message may have left a file
//!   in `spool/` that no row names; `recover` removes it.
//! * **After it, before the 250**: the client sends again: a second copy, which no protocol can avoid
//!   (RFC 1047).
//! * **While leased, before the next hop answered**: `recover` makes it due; it is sent, or sent again
//!   if the next hop had taken it without our seeing the answer.
//! * **After the next hop's 250, before the commit of `settle`**: sent twice. This is the window that
//!   RFC 5321 §4.5.3.2.6 wants small; nothing is lost in it.
//! * **After a failure, before the commit of `settle`**: it is attempted again and fails again; the
//!   sender is told once, since state, event and report are one commit.
//! * **Between the commit of the last delivery and the removal of its file**: an orphan in `spool/`, as
//!   above.
//!
//! `tests/crash.rs` stops the process at each statement of these transactions and looks.
//!
//! # Who may have the queue open
//!
//! Any number of processes; the locks of SQLite, or of the database of a fleet, order their transactions. One of them is the scheduler: it
//! holds the lock on `scheduler.lock` (in a fleet: the advisory lock of its name) from `recover` on, so that no second one frees leases that are
//! in use. It notices what others changed within a second. An administrator's order passes over what
//! is being tried at that moment, and says so.
//!
//! # A database that is taken away
//!
//! A file that is open can be deleted, moved or replaced, and whoever has it open writes on as before; the next start finds
//! nothing of that. So on one machine `queue.sqlite`, its `-wal` and its `-shm` are held against what was opened, by device and
//! inode: before anything is taken, and after each commit before anybody is told (six `stat` calls for a message that comes
//! alone, some microseconds beside a sync). From then on clients hear 451 4.3.0, orders are refused, nothing goes
//! straight through, the log has an ALARM that says what to do, `/health` answers 503 with the reason, and `postern_queue_moved`
//! is 1. The scheduler goes on with what the open file has: it is delivered, settled and reported. If the files come back (a `mv` that
//! is undone), mail is taken again. An orderly end writes all there is to `queue.rescued-TIME.sqlite` in the data folder, which takes
//! the place of the old one before the next start: as long as it lies there nothing is opened, so that no mail is taken into a queue
//! that somebody then puts it in place of. A process that is killed then loses what waits.
//!
//! What is left: a commit during which the file goes is answered with 451 and is in the file all the same, so that the
//! message may go out from there and come again from its client. What is deleted after the 250 is lost if the process is killed before it
//! is delivered. A file that somebody overwrites where it lies (`cp` onto it) has the same inode, and is not noticed: SQLite may find it
//! damaged. A command that meets the `-wal` without its database opens nothing (`queue.sqlite was deleted or moved`): a
//! new database in its place would take the log of the old one away.
//!
//! # Mail that cannot be read back
//!
//! Before a message is leased its row and its octets are read, and the octets counted. Where a file or a row is not there, or not as it was
//! written, `lease` holds it: one `held` event for each recipient with what was found (`damage`), and a notice to the
//! `owner-address` of `[holds]` (the postmaster, if that is not set), all in one transaction, and an ALARM in the log
//! (`postern_damaged_total`). The notice says what to do: put back what is lost and `queue release`, or `queue fail`, of which the
//! sender hears; `fail-after` does the same by itself. A file that cannot be read for now (no descriptor, no memory, no right), and a disk
//! that gives an error, put the message off by a minute; the log says so each time.
//!
//! A damaged page of the SQLite file ends the transaction that meets it: SQLite writes nothing more in it, and who shared it is
//! answered with an error, once. The message is then held in a transaction that does not look at it, and the others
//! go on. Given up, its row stays, for to remove it SQLite would have to read it. If even its delivery is on a damaged
//! page, leases pass it over until the next start, with an ALARM. Such a file has to be looked after (`PRAGMA integrity_check`;
//! `.recover` into a new one while the gateway is stopped).
//!
//! # How old a delivery is
//!
//! Reports of delay and giving up (`warn-after`, `give-up-after`, the time without a secured path) count from the arrival of the
//! message, and where a person let a delivery go on (`queue release`, `quarantine release`, the owner of the mailbox, the
//! sender's own word) from that moment: `released_at`. So what waited for somebody for a week is tried for as long as
//! what has just come, its sender is told of a delay anew, and if it is held once more its alarm counts from the release too. Attempts
//! are counted on, and the report gives the time of arrival (RFC 3464 §2.2.5). What was released before version 6 of the tables
//! (version 2 of a fleet's) counts from its arrival.
//!
//! # A clock that was ahead
//!
//! What came more than an hour ahead of now, and is ready more than an hour from now, came while the clock was ahead. It
//! is made due at the next start, and within a second of the clock being set back by more than an hour; the time of the
//! message (for reports and giving up) begins then. So it is with what was released under such a clock. Whether there is any is asked of the audit trail first, so that a
//! start with a million waiting looks at none of them. The trail keeps the times that were written. A clock that is
//! earlier than the first event of the trail changes nothing and is an error in the log. A message of the right time
//! whose next attempt was set by a clock that was ahead waits for that, for as long as its route keeps trying at most.
//! A machine that starts some days behind cannot be told from one that was ahead before: what waits is tried at once, and may be given up
//! that much sooner, with a report, once the clock is right.
//!
//! # A fleet
//!
//! With `[store]` in the gateway's own file the tables lie in a PostgreSQL database, and several gateways lease from
//! them (`queue::postgres`). The table above holds; what is more:
//!
//! * A *leased* row names the gateway that has it. `settle` and `give_back` of another leave it alone (that an attempt
//!   whose lease was lost did deliver is put on record), and `recover` ends the leases of its own name.
//! * One scheduler for each name (`hostname`): its session holds an advisory lock, and everything it writes goes over that
//!   session. What a living gateway has in hand no other takes, even if its time is over; of a dead one the
//!   leases end by time. A batch whose lease ended while it waited for its turn goes back untried.
//! * Every transaction that writes begins by locking the row `audit_end`, so that there is one chain and one order.
//! * Large messages lie in the database, committed before the row that names them; an orphan is a body without a message,
//!   removed by `recover` of the gateway that wrote it, or by any after a day.
//! * A server that is gone answers each job with an error (a client hears 451) until it is there again: connections are
//!   made anew with pauses of up to five seconds. A commit whose answer was lost may have taken effect, as above: at worst
//!   the client sends again, or the settlement is written again and finds nothing to do.
//! * The clocks of the gateways must agree: leases end by them. One that is more than ten seconds away from that of
//!   the database is warned of.
//!
//! # The audit trail
//!
//! Every transaction adds its events to one chain: each row's hash covers the row before. Rows are
//! never changed and have no index; a Bloom filter for every 1,024 rows says where a reference or an
//! address can be at all (`queue::sqlite`). `audit verify` names rows that were changed, are missing
//! or out of order, and an end that is not where, or not what, the last transaction left. It cannot tell
//! of an end that was cut off together with its note of where the chain ends (`audit_end`), nor of an
//! old copy of the whole file: for that, hold the last hash of an `audit export` kept elsewhere against it.
