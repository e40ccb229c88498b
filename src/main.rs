//! Arguments in, exit code out.

use std::io::{self, BufReader, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use postern::accounts::Store;
use postern::admin::cli::{
    AuditCommand, CertsCommand, Check, Cli, Command, DirectoryCommand, Evidence, EvidenceCommand,
    Explain, List, Question, QueueCommand, ReportCommand, SecureDomainsCommand,
};
use postern::admin::dkim::DkimCommand;
use postern::admin::{self, Answer, banner::Started, certs::DevelopmentFiles};
use postern::base::Clock;
use postern::config::render::{self, Colour, Format};
use postern::config::{Diagnostic, Diagnostics};
use postern::content::{self, APART_WORD};
use postern::delivery::{Router, TlsNeed};
use postern::directory::Sources;
use postern::policy::corpus::Corpus;
use postern::policy::explain::Onward;
use postern::policy::{RecipientDecision, Verdict};
use postern::queue::Queue;
use postern::server::{self, ServeError, Signals};
use postern::settings::{self, Loaded, PolicyTests, Settings};

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
        Some(place) => eprintln!("postern: panic at {}:{}", place.file(), place.line()),
        None => eprintln!("postern: panic"),
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
    eprintln!("postern: {}", with_causes(error));
    let help = error
        .downcast_ref::<ServeError>()
        .and_then(ServeError::help);
    if let Some(help) = help {
        eprintln!("help: {help}");
    }
    ExitCode::FAILURE
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
    match without_settings(cli, out).await? {
        Some(answer) => Ok(answer),
        None => with_settings(cli, out).await,
    }
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

async fn with_settings(cli: &Cli, out: &mut impl Write) -> anyhow::Result<Answer> {
    let settings = load_or_say(&cli.config).await?;
    let queue = || settings.open_queue(Clock::system());
    let signing = Arc::clone(settings.policy.signing());
    let signing = move || Arc::clone(&signing);
    let letterhead = server::letterhead(&settings.hostname, signing, Clock::system());
    let by = admin::queue::administrator();
    let desk = admin::queue::Desk {
        by: &by,
        letterhead: &letterhead,
        json: cli.json,
        encrypts: settings
            .delivery
            .routes
            .iter()
            .any(|route| route.takes == postern::delivery::Takes::Encryption),
        data: Some(&settings.data),
    };
    Ok(match &cli.command {
        Command::Resolve(asked) => {
            let resolve =
                |mailbox: &postern::mail::Mailbox| settings.policy.directory().resolve(mailbox);
            admin::resolve::run(
                &asked.addresses,
                resolve,
                cli.json,
                &mut BufReader::new(io::stdin()),
                out,
            )?
        }
        Command::Directory(DirectoryCommand::Stats { unused, limit }) => {
            let directory = settings.policy.directory();
            admin::people::stats(directory, &queue().await?, *unused, *limit, cli.json, out).await?
        }
        Command::Directory(command) => directory(command, &settings, cli.json, out)?,
        Command::SecureDomains(SecureDomainsCommand::Import(asked)) => {
            let now = Clock::system().now();
            let today = now.to_zoned(jiff::tz::TimeZone::UTC).date();
            admin::secure_domains::import(asked, &settings.policy, today, cli.json, out)?
        }
        Command::Explain(asked) => explain(asked, &settings, cli.json, out).await?,
        Command::Queue(QueueCommand::List(List { by: Some(_), .. })) => {
            let router = Router::new(settings.delivery.routes.clone());
            let ways = server::ways(&router);
            let (queue, now) = (queue().await?, Clock::system().now());
            admin::destinations::list(&queue, &settings.data, &ways, cli.json, now, out).await?
        }
        Command::Queue(command) => admin::queue::run(command, &queue().await?, desk, out).await?,
        Command::Quarantine(command) => {
            admin::quarantine::run(command, &queue().await?, desk, out).await?
        }
        Command::Report(ReportCommand::Footers { since }) => {
            let since = Clock::system().now().checked_sub(*since);
            let since = since.unwrap_or(jiff::Timestamp::MIN);
            admin::report::footers(&queue().await?, since, cli.json, out).await?
        }
        Command::Trace(asked) => admin::trace::run(asked, &queue().await?, cli.json, out).await?,
        Command::Evidence(asked) => {
            evidence(asked, &settings, &queue().await?, cli.json, out).await?
        }
        Command::Audit(AuditCommand::Verify) => {
            admin::audit::verify(&queue().await?, cli.json, out).await?
        }
        Command::Audit(AuditCommand::Export { from, out: file }) => {
            admin::audit::export(&queue().await?, *from, file.as_deref(), cli.json, out).await?
        }
        Command::Account(command) => {
            let account_desk = admin::account::Desk {
                path: settings.policy.accounts_file(),
                store: &Store::open(&settings.data)?,
                now: Clock::system().now(),
                json: cli.json,
            };
            let answer = admin::account::run(command, account_desk, out)?;
            if let Some(event) = admin::account::event(command, &by, Clock::system().now())
                && answer == Answer::Done
            {
                queue().await?.record(vec![event]).await?;
            }
            answer
        }
        Command::Sms(command) => {
            let (now, list) = (Clock::system().now(), server::opt_outs(&settings)?);
            let (answer, events) = admin::sms::run(command, &list, (&by, now), cli.json, out)?;
            if !events.is_empty() {
                queue().await?.record(events).await?;
            }
            answer
        }
        Command::Dkim(_) => {
            let today = Clock::system()
                .now()
                .to_zoned(jiff::tz::TimeZone::UTC)
                .date();
            let keys = settings.policy.signing().keys();
            admin::dkim::check(keys, &settings.dns, today, cli.json, out).await?
        }
        Command::Learn(asked) => {
            let school = admin::learn::School {
                data: &settings.data,
                learned: settings.policy.learned(),
                now: Clock::system().now(),
                json: cli.json,
            };
            admin::learn::run(asked, &school, out)?
        }
        Command::Certs(CertsCommand::Init { folder }) => {
            let now = Clock::system().now();
            admin::certs::run(folder, settings.hostname.as_str(), now, cli.json, out)?
        }
        Command::Serve | Command::Check(_) | Command::Send(_) => Answer::Usage,
    })
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

/// Looks after the mailboxes and organisations.
fn directory(
    command: &DirectoryCommand,
    settings: &Settings,
    json: bool,
    out: &mut impl Write,
) -> anyhow::Result<Answer> {
    let files = settings.policy.directory_files();
    let now = Clock::system().now();
    let desk = admin::directory::Desk {
        directory: settings.policy.directory(),
        files: &files,
        settings: settings.directory,
        today: now.to_zoned(jiff::tz::TimeZone::UTC).date(),
        json,
    };
    Ok(match command {
        DirectoryCommand::Import(asked) => admin::directory::import(asked, &desk, out)?,
        DirectoryCommand::Export(asked) => admin::directory::export(asked, &desk, out)?,
        DirectoryCommand::Find { words, limit } => {
            let found = desk.directory.search(&words.join(" "), *limit);
            admin::people::find(&found, desk.today, json, out)?
        }
        DirectoryCommand::Show { of } => {
            admin::people::show(of, desk.directory, desk.today, json, out)?
        }
        DirectoryCommand::Lint { .. } | DirectoryCommand::Stats { .. } => Answer::Usage,
    })
}

/// The settings, or every error of the files on the terminal.
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

async fn load_or_say(config: &Path) -> anyhow::Result<Settings> {
    let loaded = settings::load(config, &Clock::system(), PolicyTests::Skip).await;
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

async fn explain(
    asked: &Explain,
    settings: &Settings,
    json: bool,
    out: &mut impl Write,
) -> anyhow::Result<Answer> {
    match asked.question() {
        Err(wrong) => {
            eprintln!("postern: {wrong}");
            Ok(Answer::Usage)
        }
        Ok(Question::Reference(reference)) => {
            let queue = settings.open_queue(Clock::system()).await?;
            Ok(admin::trace::explain(&reference, &queue, json, out).await?)
        }
        Ok(Question::Messages { from, to, files }) => {
            let router = Router::new(settings.delivery.routes.clone());
            let onward = |recipient: &RecipientDecision| onward(&router, recipient);
            Ok(admin::explain::run(
                &settings.policy,
                asked,
                (from, to, files),
                onward,
                json,
                out,
            )
            .await?)
        }
    }
}

/// Writes the signed document of a message.
async fn evidence(
    asked: &Evidence,
    settings: &Settings,
    queue: &Queue,
    json: bool,
    out: &mut impl Write,
) -> anyhow::Result<Answer> {
    let Some(reference) = &asked.reference else {
        return Ok(Answer::Usage);
    };
    let desk = admin::evidence::Desk {
        gateway: settings.hostname.as_str(),
        data: &settings.data,
        now: Clock::system().now(),
        json,
    };
    let made = admin::evidence::make(reference, queue, &desk, asked.out.as_deref(), out);
    Ok(made.await?)
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
