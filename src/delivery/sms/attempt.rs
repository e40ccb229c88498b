//! One attempt at one text, as the table in `sms` says.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tracing::{error, info, warn};

use crate::base::dns::Dns;
use crate::base::{Clock, HashKey, metrics};
use crate::delivery::tls::{Tls, TlsSetupError};
use crate::mail::sms::TextMessage;
use crate::mail::{EnhancedStatusCode, Message};
use crate::outcome::{After, DeliveryResult, Outcome};

use super::book::{Begun, Book, BookError, Row};
use super::provider::{Found, NotNow, Progress, Provider, Sent, Until};
use super::quiet::{Quiet, today};
use super::settings::{OnUnknown, SmsSettings};

/// Sends texts. Cheap to clone.
#[derive(Clone)]
pub struct Texts {
    shared: Arc<Shared>,
}

struct Shared {
    provider: Box<dyn Provider>,
    book: Arc<Book>,
    clock: Clock,
    quiet: Option<Quiet>,
    per_number: u32,
    on_unknown: OnUnknown,
    /// Until when the provider is to be left alone, and why.
    pause: Mutex<Option<(Timestamp, String)>>,
    tidied: Mutex<Option<Timestamp>>,
}

/// Why texts cannot be sent at all.
#[derive(Debug, thiserror::Error)]
pub enum TextsError {
    /// The book cannot be opened.
    #[error(transparent)]
    Book(#[from] BookError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsSetupError),
}

impl Texts {
    /// Sets it up over the book in the data folder. Blocks; connects to nobody.
    ///
    /// # Errors
    /// The book cannot be opened, or a certificate to trust is malformed.
    pub fn open(
        settings: &SmsSettings,
        roots: &[rustls_pki_types::CertificateDer<'static>],
        folder: &Path,
        key: HashKey,
        dns: Dns,
        clock: Clock,
    ) -> Result<Self, TextsError> {
        let provider = settings.provider(Tls::new(roots)?, dns, clock.clone());
        let book = Arc::new(Book::open(folder, key)?);
        Ok(Self::over(provider, book, settings, clock))
    }

    pub(super) fn over(
        provider: Box<dyn Provider>,
        book: Arc<Book>,
        settings: &SmsSettings,
        clock: Clock,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                provider,
                book,
                clock,
                quiet: settings.quiet,
                per_number: settings.per_number,
                on_unknown: settings.on_unknown,
                pause: Mutex::default(),
                tidied: Mutex::default(),
            }),
        }
    }

    /// The book, for receipts.
    pub fn book(&self) -> &Arc<Book> {
        &self.shared.book
    }

    /// Makes one attempt at the text that a message of the queue is. It ends in bounded time.
    pub async fn attempt(&self, message: &Message) -> Outcome {
        let key = self.shared.book.key();
        let seal = |octets: &[u8]| key.hash(TextMessage::PURPOSE, octets);
        let text = TextMessage::read(message, seal).filter(|text| !text.text.trim().is_empty());
        let Some(text) = text else {
            let status = EnhancedStatusCode::permanent(6, 0);
            return Outcome::without_reply(status, "it is no text message of this gateway");
        };
        match self.shared.go(&text).await {
            Ok(outcome) => Outcome {
                next_hop: Some(self.shared.provider.name().to_owned()),
                ..outcome
            },
            // Without the book nothing is sent: nobody could tell whether it was sent before.
            Err(error) => {
                error!(%error, "text messages wait: their book cannot be used");
                Outcome::without_reply(
                    EnhancedStatusCode::transient(3, 0),
                    "the book of text messages cannot be used",
                )
            }
        }
    }
}

impl Shared {
    async fn go(self: &Arc<Self>, text: &TextMessage) -> Result<Outcome, BookError> {
        let reference = text.reference.clone();
        match self.with_book(move |book| book.row(&reference)).await? {
            None => self.send(text).await,
            Some(Row::Begun) => self.find(text, self.on_unknown).await,
            Some(Row::Failed | Row::Asked) => self.find(text, OnUnknown::Resend).await,
            Some(Row::Taken(id)) => self.follow(text, &id).await,
            Some(Row::Delivered) => Ok(delivered()),
            Some(Row::Lost(word)) => Ok(lost(&word)),
        }
    }

    /// Sends it, if it may go now.
    async fn send(self: &Arc<Self>, text: &TextMessage) -> Result<Outcome, BookError> {
        let now = self.clock.now();
        if let Some(ends) = self.quiet.and_then(|quiet| quiet.ends(now)) {
            return Ok(later(
                EnhancedStatusCode::transient(2, 0),
                "quiet hours",
                ends,
            ));
        }
        if let Some((until, because)) = self.paused(now) {
            return Ok(later(EnhancedStatusCode::transient(4, 5), because, until));
        }
        let (owned, most, day) = (text.clone(), self.per_number, today(now));
        let begun =
            self.with_book(move |book| book.begin(&owned.reference, &owned.to, (now, day), most));
        match begun.await? {
            Begun::Yes => {}
            Begun::OptedOut => return Ok(opted_out()),
            Begun::TooMany => {
                let tomorrow = Quiet::tomorrow(self.quiet, now).unwrap_or(now);
                let because = "the number has had as many texts as it may have in a day";
                return Ok(later(
                    EnhancedStatusCode::transient(2, 0),
                    because,
                    tomorrow,
                ));
            }
        }
        let sent = self.provider.send(text).await;
        self.settle(text, sent, day).await
    }

    /// What the answer of the provider means, written down before it is told.
    async fn settle(
        self: &Arc<Self>,
        text: &TextMessage,
        sent: Sent,
        day: jiff::civil::Date,
    ) -> Result<Outcome, BookError> {
        let reference = &text.reference;
        match sent {
            Sent::Taken { id } => {
                metrics::TEXTS_TAKEN.add(1);
                self.mark(reference, Row::Taken(id)).await?;
                info!(reference, provider = self.provider.name(), "text taken");
                Ok(match self.provider.reports() {
                    true => underway(),
                    false => delivered(),
                })
            }
            Sent::Refused { status, because } => {
                self.take_back(text, day).await?;
                Ok(Outcome::without_reply(status, because))
            }
            Sent::Unreached(because) => {
                self.take_back(text, day).await?;
                Ok(Outcome::without_reply(
                    EnhancedStatusCode::transient(4, 1),
                    because,
                ))
            }
            Sent::NotNow(not_now) => {
                metrics::TEXTS_NOT_NOW.add(1);
                self.take_back(text, day).await?;
                Ok(self.pause(not_now))
            }
            Sent::Failed(because) => {
                self.mark(reference, Row::Failed).await?;
                Ok(Outcome::without_reply(
                    EnhancedStatusCode::transient(3, 0),
                    because,
                ))
            }
            Sent::Unknown(because) => {
                metrics::TEXTS_UNKNOWN.add(1);
                warn!(
                    reference,
                    because, "it is not known whether a text was sent: the provider will be asked"
                );
                let because = format!("it is not known whether it was sent: {because}");
                Ok(Outcome::without_reply(
                    EnhancedStatusCode::transient(4, 2),
                    because,
                ))
            }
        }
    }

    /// Asks the provider whether it has a text that may have been sent, before anything else is done.
    async fn find(
        self: &Arc<Self>,
        text: &TextMessage,
        if_nowhere: OnUnknown,
    ) -> Result<Outcome, BookError> {
        let reference = &text.reference;
        match self.provider.find(reference).await {
            Found::Here { id, progress } => {
                self.mark(reference, Row::Taken(id)).await?;
                info!(
                    reference,
                    "a text whose answer was lost was found with the provider: it is not sent again"
                );
                self.came_to(text, progress).await
            }
            Found::NotNow(because) => Ok(Outcome::without_reply(
                EnhancedStatusCode::transient(4, 1),
                because,
            )),
            Found::Nowhere | Found::CannotSay => match if_nowhere {
                OnUnknown::Resend => self.send(text).await,
                OnUnknown::Fail => {
                    let because = "it is not known whether it was sent, and it is not sent again";
                    Ok(Outcome::without_reply(
                        EnhancedStatusCode::permanent(4, 2),
                        because,
                    ))
                }
                OnUnknown::Hold => {
                    self.mark(reference, Row::Asked).await?;
                    error!(
                        reference,
                        "ALARM: it is not known whether a text was sent; it is held until somebody decides"
                    );
                    let because = "it is not known whether it was sent: release sends it again, fail reports it";
                    Ok(Outcome {
                        after: After::Hold,
                        ..Outcome::without_reply(EnhancedStatusCode::transient(4, 2), because)
                    })
                }
            },
        }
    }

    /// Asks how a text is getting on that the provider has.
    async fn follow(self: &Arc<Self>, text: &TextMessage, id: &str) -> Result<Outcome, BookError> {
        if !self.provider.reports() {
            return Ok(delivered());
        }
        match self.provider.progress(id).await {
            Found::Here { progress, .. } => self.came_to(text, progress).await,
            // Numbers for smoke tests are not stored; others are forgotten after a week.
            Found::Nowhere | Found::CannotSay => {
                self.mark(&text.reference, Row::Delivered).await?;
                Ok(delivered())
            }
            Found::NotNow(because) => {
                let because = format!(
                    "with the provider; how far it has come cannot be asked now: {because}"
                );
                Ok(Outcome::without_reply(
                    EnhancedStatusCode::transient(2, 0),
                    because,
                ))
            }
        }
    }

    async fn came_to(
        self: &Arc<Self>,
        text: &TextMessage,
        progress: Progress,
    ) -> Result<Outcome, BookError> {
        let reference = &text.reference;
        match progress {
            Progress::Underway => Ok(underway()),
            Progress::Delivered => {
                self.mark(reference, Row::Delivered).await?;
                Ok(delivered())
            }
            Progress::Failed(word) => {
                self.mark(reference, Row::Lost(word.clone())).await?;
                Ok(lost(&word))
            }
        }
    }

    /// Leaves the provider alone for a while: one text finds out for all.
    fn pause(&self, not_now: NotNow) -> Outcome {
        let now = self.clock.now();
        let until = match not_now.until {
            Until::After(time) => now + time,
            Until::At(at) => at,
        };
        if not_now.alarm {
            error!(because = not_now.because, %until, "ALARM: no text can be sent");
        } else {
            warn!(because = not_now.because, %until, "texts wait");
        }
        *self.pause.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((until, not_now.because.clone()));
        later(EnhancedStatusCode::transient(4, 5), not_now.because, until)
    }

    fn paused(&self, now: Timestamp) -> Option<(Timestamp, String)> {
        let mut pause = self.pause.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back must not make it a long one.
        pause.take_if(|(until, _)| *until <= now);
        pause.clone()
    }

    async fn mark(self: &Arc<Self>, reference: &str, row: Row) -> Result<(), BookError> {
        let reference = reference.to_owned();
        self.with_book(move |book| book.mark(&reference, &row).map(drop))
            .await
    }

    async fn take_back(
        self: &Arc<Self>,
        text: &TextMessage,
        day: jiff::civil::Date,
    ) -> Result<(), BookError> {
        let text = text.clone();
        self.with_book(move |book| book.take_back(&text.reference, &text.to, day))
            .await
    }

    /// Off the async threads, for it waits for the disk.
    async fn with_book<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Book) -> Result<T, BookError> + Send + 'static,
    ) -> Result<T, BookError> {
        let shared = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            shared.tidy();
            work(&shared.book)
        });
        match done.await {
            Ok(done) => done,
            Err(_) => Err(BookError::Sqlite(rusqlite::Error::InvalidQuery)),
        }
    }

    fn tidy(&self) {
        let now = self.clock.now();
        let mut tidied = self.tidied.lock().unwrap_or_else(PoisonError::into_inner);
        if tidied.is_some_and(|last| today(last) == today(now)) {
            return;
        }
        *tidied = Some(now);
        if let Err(error) = self.book.tidy(now) {
            warn!(%error, "old rows of the book of text messages stay");
        }
    }
}

fn delivered() -> Outcome {
    Outcome {
        result: DeliveryResult::Delivered {
            dsn_passed_on: false,
        },
        ..Outcome::without_reply(EnhancedStatusCode::success(0, 0), "the text has gone")
    }
}

fn underway() -> Outcome {
    Outcome::without_reply(
        EnhancedStatusCode::transient(2, 0),
        "with the provider, which has not said yet what became of it",
    )
}

fn lost(word: &str) -> Outcome {
    let (status, because) = match word {
        "permanent-failure" => (
            EnhancedStatusCode::permanent(1, 1),
            "the provider says that there is no such telephone",
        ),
        "temporary-failure" => (
            EnhancedStatusCode::permanent(4, 1),
            "the provider could not reach the telephone in the time that it tried",
        ),
        _ => (
            EnhancedStatusCode::permanent(3, 0),
            "the provider failed to send it",
        ),
    };
    Outcome::without_reply(status, because)
}

fn opted_out() -> Outcome {
    Outcome::without_reply(
        EnhancedStatusCode::permanent(7, 1),
        "the owner of this number wants no text messages",
    )
}

fn later(status: EnhancedStatusCode, because: impl Into<String>, at: Timestamp) -> Outcome {
    Outcome {
        after: After::NotBefore(at),
        ..Outcome::without_reply(status, because)
    }
}
