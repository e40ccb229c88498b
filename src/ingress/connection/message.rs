//! The message within a connection: from DATA or the first chunk to the reply.

use std::sync::Arc;

use crate::accounts::meter::{Claim, Outcome};
use crate::mail::{Envelope, MailTransaction, Message, Reply};
use crate::policy::Policy;
use crate::smtp::data::{Decoder, Progress};
use crate::smtp::server::{Action, Chunk, DataError, Received};

use super::{Connection, End};
use crate::ingress::SPOOL;
use crate::ingress::body::{Body, Hold};
use crate::ingress::intake::{Intake, PIECE_MIN};
use crate::ingress::receive::{self, Came};

/// What belongs to a transaction beside its envelope.
pub(super) struct Transaction {
    pub(super) policy: Arc<Policy>,
    /// What it takes of the account's allowance; given back if the message does not come.
    pub(super) claim: Option<Claim>,
    intake: Option<Intake>,
}

impl Connection {
    pub(super) async fn receive_data(&mut self) -> Result<Action, End> {
        let mut intake = self.new_intake();
        let mut decoder = Decoder::new();
        loop {
            let wire = self.wire()?;
            let octets = wire.input().len();
            let progress = intake.take_data(&mut decoder, wire.input()).await;
            if let Progress::End(octets) = progress {
                wire.consume(octets);
                break;
            }
            wire.consume(octets);
            if intake.is_absurd() {
                return Err(End::Said(DataError::TooBig.into()));
            }
            self.more(&intake).await?;
        }
        let result = intake.check();
        self.transaction().intake = Some(intake);
        Ok(self.session.received(Received::Message, result))
    }

    pub(super) async fn receive_chunk(&mut self, chunk: Chunk) -> Result<Action, End> {
        let begun = self.transaction().intake.take();
        let mut intake = begun.unwrap_or_else(|| self.new_intake());
        let mut left = chunk.octets;
        loop {
            let wire = self.wire()?;
            let octets = wire
                .input()
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            intake.take_chunk(&wire.input()[..octets]).await;
            wire.consume(octets);
            left -= octets as u64;
            if left == 0 {
                break;
            }
            self.more(&intake).await?;
        }
        let result = intake.check();
        self.transaction().intake = Some(intake);
        Ok(self.session.received(Received::Chunk(chunk), result))
    }

    pub(super) async fn discard(&mut self, octets: u64) -> Result<(), End> {
        let limit = self.door.limits.data_timeout;
        let mut left = octets;
        loop {
            let wire = self.wire()?;
            let dropped = wire
                .input()
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            wire.consume(dropped);
            left -= dropped as u64;
            if left == 0 {
                return Ok(());
            }
            wire.more(PIECE_MIN, limit).await?;
        }
    }

    pub(super) async fn submit(&mut self, envelope: Envelope) -> Result<Reply, End> {
        // Whoever pipelined up to here waits for this decision; what was said before need not wait.
        let wire = self.wire()?;
        wire.flush().await?;
        wire.rest();
        let policy = Arc::clone(&self.transaction().policy);
        let intake = self.transaction().intake.take();
        let (message, _hold) = match whole(intake).await {
            Ok(message) => message,
            Err(error) => return Ok(error.into()),
        };
        let door = Arc::clone(&self.door);
        let _room = door.room_to_decide(message.len()).await;
        let parts = &door.parts;
        let transaction = MailTransaction {
            client: self.session.client().clone(),
            envelope,
            message,
            received_at: parts.clock.now(),
        };
        let claim = self.transaction().claim.take();
        let octets = transaction.message.len();
        let (reply, came) =
            receive::receive(parts, policy, transaction, (&door.limits, door.straight)).await;
        if let Some(claim) = claim {
            let outcome = match (came, reply.code().value()) {
                (Came::Again, _) => Outcome::Repeated,
                (Came::First, ..300) => Outcome::Accepted(octets),
                (Came::First, _) => Outcome::Refused,
            };
            claim.settle(outcome, parts.clock.now());
        }
        if reply.code().value() < 300 {
            self.refused_recipients = 0;
        }
        Ok(reply)
    }

    /// The transaction under way. It begins with the sender who is an account, or else with the first recipient, and so
    /// does its policy.
    pub(super) fn transaction(&mut self) -> &mut Transaction {
        let policies = &self.door.parts.policies;
        self.transaction.get_or_insert_with(|| Transaction {
            policy: Arc::clone(&policies.borrow()),
            claim: None,
            intake: None,
        })
    }

    fn new_intake(&self) -> Intake {
        let limits = &self.door.limits;
        let folder = self.door.parts.data.join(SPOOL);
        let body = Body::new(folder, limits.in_memory_octets, self.door.budget.clone());
        Intake::new(body, limits.message_octets)
    }

    /// Waits for more of a message.
    async fn more(&mut self, intake: &Intake) -> Result<(), End> {
        let limit = self.door.limits.data_timeout;
        Ok(self.wire()?.more(intake.piece_octets(), limit).await?)
    }
}

async fn whole(intake: Option<Intake>) -> Result<(Message, Hold), DataError> {
    match intake {
        Some(intake) => intake.finish().await,
        None => Err(DataError::Failed),
    }
}
