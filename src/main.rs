//! Arguments in, exit code out.

use std::io::{self, BufReader, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use jiff::Timestamp;
use postern::accounts::Store;
use postern::admin::answer::CommandError;
use postern::admin::cli::{
    AccountCommand, AuditCommand, CertsCommand, Check, Cli, Command, DirectoryCommand, Evidence,
    EvidenceCommand, Explain, List, Plan, Question, QueueCommand, ReportCommand,
    SecureDomainsCommand,
};
use postern::admin::dkim::DkimCommand;
use postern::admin::{self, Answer, banner::Started, certs::DevelopmentFiles, record::record};
use postern::base::{Clock, tell};
use postern::config::render::{self, Colour, Format};
use postern::config::{Diagnostic, Diagnostics};
use postern::content::{self, APART_WORD};
use postern::delivery::{Router, Takes, TlsNeed};
use postern::directory::Sources;
use postern::mail::Mailbox;
use postern::outcome::Letterhead;
use postern::policy::corpus::Corpus;
use postern::policy::explain::Onward;
use postern::policy::{RecipientDecision, Verdict};
use postern::queue::Queue;
use postern::server::{self, ServeError, Signals};
use postern::settings::{self, Essentials, Loaded, PolicyTests, Settings};
use zeroize::Zeroizing;

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(say_where));
    // Before anything else: a reader has little memory and knows no settings.
    if std::env::args_os()
        .nth(1)
        .is_some_and(|word| word == APART_WORD)
    {
        return content::serve_apart();
    }
    content::open_apart(Path::new(THIS_PROGRAM));
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    match runtime.block_on(run(&cli)) {
        Ok(answer) => answer.into(),
        Err(error) if reader_left(&error) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// This very program, also after its file was replaced by a newer one (proc(5)).
const THIS_PROGRAM: &str = "/proc/self/exe";

/// A panic's place and nothing else: its message could hold what a message says.
fn say_where(panic: &std::panic::PanicHookInfo<'_>) {
    match panic.location() {
        Some(place) => tell(format_args!(
            "postern: panic at {}:{}",
            place.file(),
            place.line()
        )),
        None => tell("postern: panic"),
    }
}

/// Whether nobody reads our output any more: `postern queue list | head`.
fn reader_left(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}

fn fail(error: &anyhow::Error) -> ExitCode {
    tell(format_args!("postern: {}", with_causes(error)));
    let help = error
        .downcast_ref::<ServeError>()
        .and_then(ServeError::help);
    if let Some(help) = help {
        tell(format_args!("help: {help}"));
    }
    let error = error.downcast_ref::<CommandError>();
    match error.is_some_and(CommandError::is_usage) {
        true => Answer::Usage.into(),
        false => ExitCode::FAILURE,
    }
}

/// An error and its causes in one line; one that says what its cause says is not repeated.
fn with_causes(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if line.is_empty() {
            line = cause;
        } else if !line.contains(&cause) {
            line.push_str(": ");
            line.push_str(&cause);
        }
    }
    line
}

async fn run(cli: &Cli) -> anyhow::Result<Answer> {
    let out = &mut io::stdout().lock();
    if let Some(answer) = without_settings(cli, out).await? {
        return Ok(answer);
    }
    let loaded = match cli.command {
        Command::Resolve(_) => load_to_resolve(&cli.config).await,
        _ => load_or_say(&cli.config).await,
    };
    let settings = match loaded {
        Ok(settings) => settings,
        Err(error) => {
            return without_policy(cli, out).await?.ok_or(error);
        }
    };
    let office = Office {
        cli,
        settings,
        by: admin::queue::administrator(),
        now: Clock::system().now(),
    };
    if let Some(answer) = office.about_mail(out).await? {
        return Ok(answer);
    }
    if let Some(answer) = office.about_senders(out).await? {
        return Ok(answer);
    }
    office.about_settings(out).await
}

/// Does what wants no settings, or loads them in a way of its own; `None` for all else.
async fn without_settings(cli: &Cli, out: &mut impl Write) -> anyhow::Result<Option<Answer>> {
    Ok(Some(match &cli.command {
        Command::Serve => serve(&cli.config, cli.json).await?,
        Command::Check(asked) if asked.corpus.is_some() => measure(asked, cli, out).await?,
        Command::Check(asked) => {
            let file = asked.file(&cli.config);
            let mut loaded = settings::load(&file, &Clock::system(), PolicyTests::Run).await;
            loaded.diagnostics.extend(lint(&loaded));
            let format = admin::check::format(asked.format, cli.json, Colour::of(&io::stdout()));
            let folder = file.parent().unwrap_or(Path::new("."));
            admin::check::run(folder, &loaded.diagnostics, loaded.tests, format, out)?
        }
        Command::Directory(DirectoryCommand::Lint { format }) => {
            let mut loaded = settings::load(&cli.config, &Clock::system(), PolicyTests::Skip).await;
            if let Some(settings) = &loaded.settings {
                let files = settings.policy.directory_files();
                loaded.diagnostics.retain(|one| files.are_meant_by(one));
            }
            loaded.diagnostics.extend(lint(&loaded));
            let format = admin::check::format(*format, cli.json, Colour::of(&io::stdout()));
            admin::directory::lint(&loaded.diagnostics, format, out)?
        }
        Command::Send(asked) => admin::send::run(asked, cli.json, &mut io::stdin().lock(), out)?,
        Command::Evidence(Evidence {
            command: Some(EvidenceCommand::Verify { file, key }),
            ..
        }) => {
            let text = admin::input::read_text(file, &mut io::stdin().lock())?;
            admin::evidence::verify(&text, key.as_deref(), cli.json, out)?
        }
        Command::Dkim(DkimCommand::New(asked)) => admin::dkim::new(asked, cli.json, out)?,
        _ => return Ok(None),
    }))
}

/// Where the commands are carried out that want the settings of a gateway.
struct Office<'a> {
    cli: &'a Cli,
    settings: Settings,
    /// The administrator, for the audit trail.
    by: String,
    now: Timestamp,
}

impl Office<'_> {
    /// The queue, beside a gateway that may be running.
    async fn queue(&self) -> anyhow::Result<Queue> {
        Ok(self.settings.open_queue(Clock::system()).await?)
    }

    fn letterhead(&self) -> Letterhead {
        let signing = Arc::clone(self.settings.policy.signing());
        let signing = move || Arc::clone(&signing);
        server::letterhead(&self.settings.hostname, signing, Clock::system())
    }

    fn today(&self) -> jiff::civil::Date {
        self.now.to_zoned(jiff::tz::TimeZone::UTC).date()
    }

    /// What waits, is kept apart, or went on; `None` for all else.
    async fn about_mail(&self, out: &mut impl Write) -> anyhow::Result<Option<Answer>> {
        let (json, settings, letterhead) = (self.cli.json, &self.settings, self.letterhead());
        let mut routes = settings.delivery.routes.iter();
        let desk = admin::queue::Desk {
            by: &self.by,
            letterhead: &letterhead,
            json,
            encrypts: routes.any(|route| route.takes == Takes::Encryption),
            data: Some(&settings.data),
        };
        Ok(Some(match &self.cli.command {
            Command::Queue(QueueCommand::List(List { by: Some(_), .. })) => {
                let router = Router::new(settings.delivery.routes.clone());
                let (ways, queue) = (server::ways(&router), self.queue().await?);
                let owners = match settings.store.postgres {
                    Some(_) => admin::destinations::Owners::Fleet,
                    None => admin::destinations::Owners::One,
                };
                let place = (&*settings.data, owners);
                admin::destinations::list(&queue, place, &ways, json, self.now, out).await?
            }
            Command::Queue(command) => {
                admin::queue::run(command, &self.queue().await?, desk, out).await?
            }
            Command::Quarantine(command) => {
                admin::quarantine::run(command, &self.queue().await?, desk, out).await?
            }
            Command::Report(ReportCommand::Footers { since }) => {
                let since = self.now.checked_sub(*since).unwrap_or(Timestamp::MIN);
                admin::report::footers(&self.queue().await?, since, json, out).await?
            }
            Command::Trace(asked) => {
                admin::trace::run(asked, &self.queue().await?, json, out).await?
            }
            Command::Plan(asked) => self.plan(asked, out).await?,
            Command::Evidence(asked) => self.evidence(asked, out).await?,
            Command::Audit(AuditCommand::Verify) => {
                admin::audit::verify(&self.queue().await?, json, out).await?
            }
            Command::Audit(AuditCommand::Export { from, out: file }) => {
                let queue = self.queue().await?;
                admin::audit::export(&queue, *from, file.as_deref(), json, out).await?
            }
            _ => return Ok(None),
        }))
    }

    /// Accounts and text messages: what changes them leaves its event in the audit trail. `None` for all else.
    async fn about_senders(&self, out: &mut impl Write) -> anyhow::Result<Option<Answer>> {
        let (json, by, now) = (self.cli.json, &*self.by, self.now);
        // What is done goes on record first, whether or not somebody reads the answer. A secret may be in that.
        let mut said = Zeroizing::new(Vec::new());
        let (answer, events) = match &self.cli.command {
            Command::Account(command) => {
                let (file, data) = (self.settings.policy.accounts_file(), &self.settings.data);
                let answer = about_accounts(command, (file, data), now, json, &mut *said)?;
                let event = admin::account::event(command, by, now);
                let event = event.filter(|_| answer == Answer::Done);
                (answer, event.into_iter().collect())
            }
            Command::Sms(command) => {
                let list = server::opt_outs(&self.settings)?;
                admin::sms::run(command, &list, (by, now), json, &mut *said)?
            }
            _ => return Ok(None),
        };
        let recorded = match events.is_empty() {
            true => Ok(()),
            false => record(self.settings.open_queue(Clock::system()), events).await,
        };
        out.write_all(&said)?;
        recorded?;
        Ok(Some(answer))
    }

    /// The directory, the policy and its keys.
    async fn about_settings(&self, out: &mut impl Write) -> anyhow::Result<Answer> {
        let (json, settings) = (self.cli.json, &self.settings);
        let directory = settings.policy.directory();
        Ok(match &self.cli.command {
            Command::Resolve(asked) => {
                let resolve = |mailbox: &Mailbox| directory.resolve(mailbox);
                let input = &mut BufReader::new(io::stdin());
                admin::resolve::run(&asked.addresses, resolve, json, input, out)?
            }
            Command::Directory(DirectoryCommand::Stats { unused, limit }) => {
                let queue = self.queue().await?;
                admin::people::stats(directory, &queue, *unused, *limit, json, out).await?
            }
            Command::Directory(command) => self.directory(command, out)?,
            Command::SecureDomains(SecureDomainsCommand::Import(asked)) => {
                admin::secure_domains::import(asked, &settings.policy, self.today(), json, out)?
            }
            Command::Explain(asked) => self.explain(asked, out).await?,
            Command::Dkim(_) => {
                let keys = settings.policy.signing().keys();
                admin::dkim::check(keys, &settings.dns, self.today(), json, out).await?
            }
            Command::Learn(asked) => {
                let school = admin::learn::School {
                    data: &settings.data,
                    learned: settings.policy.learned(),
                    now: self.now,
                    json,
                };
                admin::learn::run(asked, &school, out)?
            }
            Command::Certs(CertsCommand::Init { folder }) => {
                let hostname = settings.hostname.as_str();
                admin::certs::run(folder, hostname, self.now, json, out)?
            }
            _ => Answer::Usage,
        })
    }

    /// Looks after the mailboxes and organisations.
    fn directory(
        &self,
        command: &DirectoryCommand,
        out: &mut impl Write,
    ) -> anyhow::Result<Answer> {
        let files = self.settings.policy.directory_files();
        let desk = admin::directory::Desk {
            directory: self.settings.policy.directory(),
            files: &files,
            settings: self.settings.directory,
            today: self.today(),
            json: self.cli.json,
        };
        Ok(match command {
            DirectoryCommand::Import(asked) => admin::directory::import(asked, &desk, out)?,
            DirectoryCommand::Export(asked) => admin::directory::export(asked, &desk, out)?,
            DirectoryCommand::Find { words, limit } => {
                let found = desk.directory.search(&words.join(" "), *limit);
                admin::people::find(&found, desk.today, desk.json, out)?
            }
            DirectoryCommand::Show { of } => {
                admin::people::show(of, desk.directory, desk.today, desk.json, out)?
            }
            DirectoryCommand::Lint { .. } | DirectoryCommand::Stats { .. } => Answer::Usage,
        })
    }

    async fn explain(&self, asked: &Explain, out: &mut impl Write) -> anyhow::Result<Answer> {
        let (json, settings) = (self.cli.json, &self.settings);
        match asked.question() {
            Err(wrong) => {
                tell(format_args!("postern: {wrong}"));
                Ok(Answer::Usage)
            }
            Ok(Question::Reference(reference)) => {
                let queue = self.queue().await?;
                Ok(admin::trace::explain(&reference, &queue, json, out).await?)
            }
            Ok(Question::Messages { from, to, files }) => {
                let router = Router::new(settings.delivery.routes.clone());
                let onward = |recipient: &RecipientDecision| onward(&router, recipient);
                let about = (from, to, files);
                let said = admin::explain::run(&settings.policy, asked, about, onward, json, out);
                Ok(said.await?)
            }
        }
    }

    /// Compares the policy in force with that of another folder. One with errors is told as `check` tells it.
    async fn plan(&self, asked: &Plan, out: &mut impl Write) -> anyhow::Result<Answer> {
        let (json, file) = (self.cli.json, asked.file());
        let loaded = settings::load(&file, &Clock::system(), PolicyTests::Run).await;
        let Some(new) = &loaded.settings else {
            let format = match json {
                true => Format::Json,
                false => Format::Human(Colour::of(&io::stdout())),
            };
            let folder = file.parent().unwrap_or(Path::new("."));
            let said = admin::check::run(folder, &loaded.diagnostics, loaded.tests, format, out);
            return said.map(|_| Answer::Usage).map_err(Into::into);
        };
        let routers = [&self.settings, new].map(|one| Router::new(one.delivery.routes.clone()));
        let queue = self.queue().await?;
        let desk = admin::plan::Desk {
            queue: &queue,
            before: &self.settings.policy,
            after: &new.policy,
            ways: [&|recipient| onward(&routers[0], recipient), &|recipient| {
                onward(&routers[1], recipient)
            }],
            mains: [&self.cli.config, &file],
            since: asked.since.moment(self.now),
            limit: asked.limit,
            json,
        };
        Ok(admin::plan::run(desk, out).await?)
    }

    /// Writes the signed document of a message.
    async fn evidence(&self, asked: &Evidence, out: &mut impl Write) -> anyhow::Result<Answer> {
        let Some(reference) = &asked.reference else {
            return Ok(Answer::Usage);
        };
        let desk = admin::evidence::Desk {
            gateway: self.settings.hostname.as_str(),
            data: &self.settings.data,
            now: self.now,
            json: self.cli.json,
        };
        let queue = self.queue().await?;
        let made = admin::evidence::make(reference, &queue, &desk, asked.out.as_deref(), out);
        Ok(made.await?)
    }
}

/// Carries out a command about accounts, in their file and in the data folder. To shut one, nothing but the file is
/// asked.
fn about_accounts(
    command: &AccountCommand,
    (file, data): (&Path, &Path),
    now: Timestamp,
    json: bool,
    out: &mut impl Write,
) -> anyhow::Result<Answer> {
    if let AccountCommand::Disable { name } = command {
        return Ok(admin::account::disable(name, file, json, out)?);
    }
    let desk = admin::account::Desk {
        path: file,
        store: &Store::open(data)?,
        now,
        json,
    };
    Ok(admin::account::run(command, desk, out)?)
}

/// Does what is done to an account although the configuration has errors, which were told: whose secret is out must be
/// shut at once. `None` for what has to wait until they are put right.
async fn without_policy(cli: &Cli, out: &mut impl Write) -> anyhow::Result<Option<Answer>> {
    let Command::Account(command) = &cli.command else {
        return Ok(None);
    };
    let Some(place) = Essentials::read(&cli.config) else {
        return Ok(None);
    };
    let may_go_on = match command {
        AccountCommand::Add(_) => false,
        AccountCommand::Disable { .. } => true,
        // Another database than the one that is meant would take all this as well.
        _ => place.is_sure,
    };
    if !may_go_on {
        return Ok(None);
    }
    let (now, by) = (Clock::system().now(), admin::queue::administrator());
    let mut said = Zeroizing::new(Vec::new());
    let paths = (&*place.accounts, &*place.data);
    let answer = about_accounts(command, paths, now, cli.json, &mut *said)?;
    let event = admin::account::event(command, &by, now);
    let recorded = match event.filter(|_| answer == Answer::Done && place.is_sure) {
        Some(event) => record(place.open_queue(Clock::system()), vec![event]).await,
        None => Ok(()),
    };
    out.write_all(&said)?;
    let (config, file) = (cli.config.display(), place.accounts.display());
    if matches!(command, AccountCommand::Disable { .. }) {
        tell(format_args!(
            "warning: the configuration has errors: a gateway that runs shuts the account by {file} all the same, \
             within seconds; one that is started now does not start"
        ));
    }
    if !place.is_sure {
        tell(format_args!(
            "warning: {config} itself has errors: should it mean another file than {file}, shut the account there; \
             nothing was written into the audit trail"
        ));
    }
    recorded?;
    Ok(Some(answer))
}

/// Runs the gateway: development certificates are made first if the configuration names them and
/// they are not there.
async fn serve(config: &Path, json: bool) -> anyhow::Result<Answer> {
    let signals = Signals::take()?;
    let loaded = settings::load_to_serve(config, &Clock::system()).await;
    if loaded.has_errors() {
        say(&loaded)?;
    }
    if let Some(settings) = &loaded.settings {
        admin::settings::start_log(&settings.admin);
        for pair in &settings.ingress.certificates {
            let Some(folder) = pair.certificate.parent() else {
                continue;
            };
            if DevelopmentFiles::in_folder(folder).certificate == pair.certificate
                && !pair.certificate.exists()
            {
                admin::certs::init(folder, settings.hostname.as_str(), Clock::system().now())?;
            }
        }
    }
    // Mail does not depend on whether somebody reads this.
    let say = |started: &Started| drop(started.write(json, &mut io::stdout()));
    server::serve(config, loaded, signals, say).await?;
    Ok(Answer::Done)
}

/// What is worth knowing of the directory, if the files can be used at all.
fn lint(loaded: &Loaded) -> Vec<Diagnostic> {
    let Some(settings) = &loaded.settings else {
        return Vec::new();
    };
    let files = settings.policy.directory_files();
    let sources = Sources::load(&files, &Diagnostics::default());
    let today = Clock::system()
        .now()
        .to_zoned(jiff::tz::TimeZone::UTC)
        .date();
    let directory = settings.policy.directory();
    sources.map_or_else(Vec::new, |sources| directory.lint_on(&sources, today))
}

/// Judges labelled mail by the policy asked for.
async fn measure(asked: &Check, cli: &Cli, out: &mut impl Write) -> anyhow::Result<Answer> {
    let settings = load_or_say(&asked.file(&cli.config)).await?;
    let diagnostics = Diagnostics::default();
    let folder = asked.corpus.as_deref().unwrap_or(Path::new("."));
    if asked.spam {
        return Ok(
            admin::spam_corpus::run(&settings.policy, folder, asked.each, cli.json, out).await?,
        );
    }
    let corpus = Corpus::load(folder, &diagnostics);
    let format = admin::check::format(asked.format, cli.json, Colour::of(&io::stdout()));
    render::render(&diagnostics.into_vec(), format, out)?;
    let Some(corpus) = corpus else {
        return Ok(Answer::No);
    };
    let report = settings.policy.measure(&corpus)?;
    let json = format == Format::Json;
    Ok(admin::corpus::run(&report, asked.floor(), json, out)?)
}

/// The settings, or every error of the files on the terminal.
async fn load_or_say(config: &Path) -> anyhow::Result<Settings> {
    settings_of(settings::load(config, &Clock::system(), PolicyTests::Skip).await)
}

/// The same for a command that answers in spite of names that lead back to themselves.
async fn load_to_resolve(config: &Path) -> anyhow::Result<Settings> {
    settings_of(settings::load_to_resolve(config, &Clock::system()).await)
}

fn settings_of(loaded: Loaded) -> anyhow::Result<Settings> {
    if loaded.has_errors() {
        say(&loaded)?;
    }
    loaded
        .settings
        .ok_or_else(|| anyhow::anyhow!("the configuration has errors: see `postern check`"))
}

fn say(loaded: &Loaded) -> io::Result<()> {
    render::render(
        &loaded.diagnostics,
        Format::Human(Colour::of(&io::stderr())),
        &mut io::stderr(),
    )
}

/// Where a recipient's mail would go; nowhere if it is kept or refused.
fn onward(router: &Router, recipient: &RecipientDecision) -> Onward {
    let need = match recipient.verdict {
        Verdict::Deliver => TlsNeed::AsRoute,
        Verdict::DeliverVerifiedTls => TlsNeed::Verified,
        Verdict::Encrypt => TlsNeed::Encryption,
        _ => return Onward::default(),
    };
    let path = &recipient.recipient.forward_path;
    let Some(route) = router.route(path, need == TlsNeed::Encryption) else {
        return Onward::default();
    };
    let level = route.tls_level(need);
    Onward {
        route: Some(route.name.clone()),
        tls: (!route.is_local()).then(|| level.word().to_owned()),
    }
}
