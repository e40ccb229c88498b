//! Connections: how they are made, and what is asked of a server before it is trusted with mail.

use std::time::Duration;

use deadpool_postgres::{
    ClientWrapper, Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime,
};
use tokio::time::timeout;
use tokio_postgres::Config;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};

use crate::queue::error::{QueueError, StoreError};
use crate::queue::settings::{PostgresSettings, Reach};

use super::db::{Db, IDLE_MAX, LOCK_MAX, STATEMENT_MAX};
use super::tls::Tls;

/// Where the database is, and how it is spoken to.
#[derive(Clone)]
pub(super) struct Server {
    config: Config,
    tls: Tls,
}

impl Server {
    /// The server that the settings name; nothing is asked of it yet.
    pub(super) fn new(settings: &PostgresSettings) -> Result<Self, QueueError> {
        let mut config = settings.config();
        // A fleet names several hosts: the one that takes writes is meant, now and after a change-over.
        if config.get_target_session_attrs() == TargetSessionAttrs::Any {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        config
            .application_name("postern")
            .connect_timeout(CONNECT_ONE_MAX)
            .keepalives_idle(KEEPALIVE)
            .tcp_user_timeout(DEAD_AFTER)
            .ssl_mode(match settings.reach {
                Reach::ThisMachine => SslMode::Disable,
                Reach::Network(_) => SslMode::Require,
            });
        let tls = Tls::new(&settings.reach.authorities());
        let tls = tls.map_err(|error| StoreError::unsafe_server(error.to_string()))?;
        Ok(Self { config, tls })
    }

    /// Makes a connection.
    pub(super) async fn connect(&self) -> Result<ClientWrapper, QueueError> {
        let connecting = async {
            let (client, connection) = self.config.connect(self.tls.clone()).await?;
            let task = tokio::spawn(async move {
                // Whoever waits for an answer on it hears of it too.
                if let Err(error) = connection.await {
                    tracing::debug!(error = %StoreError::from(error), "a connection to the database ended");
                }
            });
            let client = ClientWrapper::new(client, task);
            greet(Db(&client)).await?;
            Ok(client)
        };
        match timeout(CONNECT_MAX, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err(StoreError::silent().into()),
        }
    }

    /// So many connections at most, made when they are wanted.
    pub(super) fn pool(&self, connections: usize) -> Result<Pool, QueueError> {
        let manager = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = Manager::from_config(self.config.clone(), self.tls.clone(), manager);
        let greeting = Hook::async_fn(|client: &mut ClientWrapper, _| {
            Box::pin(async move {
                let greeted = greet(Db(client)).await;
                greeted.map_err(|error| HookError::message(error.to_string()))
            })
        });
        let pool = Pool::builder(manager)
            .max_size(connections)
            .wait_timeout(Some(STATEMENT_MAX))
            .create_timeout(Some(CONNECT_MAX))
            .recycle_timeout(Some(CONNECT_MAX))
            .post_create(greeting)
            .runtime(Runtime::Tokio1);
        Ok(pool
            .build()
            .map_err(|error| StoreError::unsafe_server(error.to_string()))?)
    }
}

/// Sets up a session, and looks whether what the server calls committed lasts.
async fn greet(db: Db<'_>) -> Result<(), QueueError> {
    db.run(&format!(
        "SET statement_timeout = {}; SET lock_timeout = {}; SET idle_in_transaction_session_timeout = {};
         SET tcp_keepalives_idle = {keep}; SET tcp_keepalives_interval = {keep}; SET tcp_keepalives_count = 3;
         SET tcp_user_timeout = {}; SET default_transaction_isolation = 'read committed';
         SET client_min_messages = error; SET jit = off",
        STATEMENT_MAX.as_millis(),
        LOCK_MAX.as_millis(),
        IDLE_MAX.as_millis(),
        DEAD_AFTER.as_millis(),
        keep = KEEPALIVE.as_secs(),
    ))
    .await?;
    let row = db
        .one(
            "SELECT current_setting('synchronous_commit'), current_setting('fsync'), current_setting('full_page_writes'),
                    current_setting('server_encoding'), current_setting('server_version_num')::integer",
            &[],
        )
        .await?;
    let refuse = |why: &str| Err(StoreError::unsafe_server(why.to_owned()).into());
    if row.get::<_, &str>(1) != "on" || row.get::<_, &str>(2) != "on" {
        return refuse(
            "fsync or full_page_writes is off: what it calls committed is lost with the power",
        );
    }
    if row.get::<_, &str>(3) != "UTF8" {
        return refuse("the encoding of the database is not UTF8");
    }
    if row.get::<_, i32>(4) < OLDEST {
        return refuse("PostgreSQL 14 or newer is needed");
    }
    // `remote_apply` promises more; all other values promise less.
    if row.get::<_, &str>(0) != "remote_apply" {
        db.run("SET synchronous_commit = on").await?;
    }
    Ok(())
}

/// How long one of several hosts may take until it answers.
const CONNECT_ONE_MAX: Duration = Duration::from_secs(4);
/// How long it may take until one of them does.
const CONNECT_MAX: Duration = Duration::from_secs(15);
/// After such a silence the other side is asked whether it is there.
const KEEPALIVE: Duration = Duration::from_secs(5);
/// After this a peer that confirms nothing is gone.
const DEAD_AFTER: Duration = Duration::from_secs(20);
/// `pg_terminate_backend` that waits.
const OLDEST: i32 = 140_000;
