//! What the law wants in the mail of an entity, and whether the file has it (`domain.md` §7.2).

use crate::config::{Diagnostic, Located, Section};

use super::particulars::{Form, Particulars, State};

/// Reports what is missing or cannot be right. `given` is a footer text from the file: it must say
/// what the law wants, too.
pub(super) fn check(
    section: &Section<'_>,
    particulars: &Particulars,
    given: Option<&Located<String>>,
) {
    for duty in duties(particulars) {
        if (duty.values)(particulars).is_empty() {
            report_missing(section, &duty);
        }
    }
    if let Some(given) = given {
        check_text(section, particulars, given);
    }
    check_number(section, particulars);
    check_part(section, particulars);
    check_name(section, particulars);
}

/// Reports what a footer text from the file does not say.
pub(super) fn check_text(
    section: &Section<'_>,
    particulars: &Particulars,
    given: &Located<String>,
) {
    for duty in duties(particulars) {
        let values = (duty.values)(particulars);
        if !values.is_empty() {
            check_given(section, &duty, &values, given);
        }
    }
}

/// Whether the law wants anything said at all.
pub(super) fn wants_anything(particulars: &Particulars) -> bool {
    !duties(particulars).is_empty()
}

/// A particular that must be shown.
struct Duty {
    /// The key in the file.
    key: &'static str,
    /// In plain words.
    what: &'static str,
    /// Who says so.
    instrument: &'static str,
    /// What the file has for it.
    values: fn(&Particulars) -> Vec<&str>,
}

/// The particulars that the law wants of an entity of this form and in this state.
fn duties(particulars: &Particulars) -> Vec<Duty> {
    let mut duties = match particulars.form {
        form if form.is_registered() => registered(form),
        Form::SoleTrader | Form::Partnership if uses_own_name(particulars) => Vec::new(),
        Form::SoleTrader => vec![
            people("the trader's own name", BUSINESS_NAMES),
            address(
                "an address for service in the United Kingdom",
                BUSINESS_NAMES,
            ),
        ],
        Form::Partnership => vec![
            people("the name of each partner", BUSINESS_NAMES),
            address("an address for service of the partners", BUSINESS_NAMES),
        ],
        Form::LargePartnership => vec![
            address(
                "the principal place of business, where the list of partners may be inspected",
                "Companies Act 2006 s.1203",
            ),
            statement(
                "that the list of partners may be inspected there",
                "Companies Act 2006 s.1203",
                |_| vec!["inspected"],
            ),
        ],
        Form::OverseasCompany => vec![
            country("the country of incorporation", "SI 2009/1801 reg 63"),
            number("the number in its register", "SI 2009/1801 reg 63"),
            office("the head office", "SI 2009/1801 reg 63"),
        ],
        _ => Vec::new(),
    };
    if particulars.form == Form::CharitableCompany {
        duties.push(charity("Charities Act 2011 s.194"));
    }
    duties.extend(of_state(particulars.state));
    duties
}

/// What must be said, and who must be named, while an entity does not go on as usual.
fn of_state(state: State) -> Vec<Duty> {
    const SCHEDULE_B1: &str = "Insolvency Act 1986 Sch B1 para 45";
    const MORATORIUM: &str = "Insolvency Act 1986 s.A19";
    match state {
        State::Trading => Vec::new(),
        State::BeingWoundUp => vec![statement(
            "that it is being wound up",
            "Insolvency Act 1986 s.188",
            |_| vec!["being wound up"],
        )],
        State::InAdministration => vec![
            Duty {
                key: "administrators",
                what: "the names of the administrators",
                instrument: SCHEDULE_B1,
                values: |particulars| texts(&particulars.administrators),
            },
            statement(
                "that its affairs, business and property are being managed by them",
                SCHEDULE_B1,
                |_| vec!["being managed by"],
            ),
        ],
        State::ReceiverAppointed => vec![statement(
            "that a receiver or manager has been appointed",
            "Insolvency Act 1986 s.39, s.64",
            |_| vec!["receiver"],
        )],
        State::InMoratorium => vec![
            Duty {
                key: "monitors",
                what: "the name of the monitor",
                instrument: MORATORIUM,
                values: |particulars| texts(&particulars.monitors),
            },
            statement("that a moratorium is in force", MORATORIUM, |_| {
                vec!["moratorium"]
            }),
        ],
    }
}

/// What a footer must say besides particulars: words that stand in it however it is put.
fn statement(
    what: &'static str,
    instrument: &'static str,
    words: fn(&Particulars) -> Vec<&str>,
) -> Duty {
    Duty {
        key: "state",
        what,
        instrument,
        values: words,
    }
}

fn texts(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

/// The duties of what Companies House registers.
fn registered(form: Form) -> Vec<Duty> {
    let (name_law, law) = match form {
        Form::Llp => (
            "SI 2015/17 reg 24 and SI 2009/1804",
            "SI 2015/17 reg 25 and SI 2009/1804",
        ),
        _ => ("SI 2015/17 reg 24", "SI 2015/17 reg 25"),
    };
    let mut duties = vec![
        Duty {
            key: "name",
            what: "the registered name",
            instrument: name_law,
            values: |particulars| vec![particulars.name.as_str()],
        },
        country("the part of the United Kingdom where it is registered", law),
        number("the registered number", law),
        office("the address of the registered office", law),
    ];
    // Their names do not say it (or, of an LLP, in short alone).
    match form {
        Form::ExemptCompany | Form::Cic => {
            duties.push(statement("that it is a limited company", law, |_| {
                vec!["limited company"]
            }));
        }
        Form::Llp => duties.push(statement(
            "that it is a limited liability partnership",
            law,
            |_| vec!["limited liability partnership"],
        )),
        _ => {}
    }
    duties
}

/// Companies Act 2006 s.1200(2): who trades under the surnames of all partners has no duty. The
/// surname is taken to be the last word of a name.
pub(super) fn uses_own_name(particulars: &Particulars) -> bool {
    let surname = |person: &String| person.split_whitespace().next_back().map(str::to_lowercase);
    let words: Vec<String> = particulars
        .name
        .split_whitespace()
        .map(str::to_lowercase)
        .collect();
    let has_people = !particulars.people.is_empty();
    let allowed = |word: &String| {
        let own = |person: &String| {
            person
                .to_lowercase()
                .split_whitespace()
                .any(|part| part == word)
        };
        matches!(word.as_str(), "&" | "and")
            || is_initial(word)
            || particulars.people.iter().any(own)
    };
    let named = |person: &String| surname(person).is_some_and(|surname| words.contains(&surname));
    has_people && words.iter().all(allowed) && particulars.people.iter().all(named)
}

fn is_initial(word: &str) -> bool {
    word.trim_end_matches('.').chars().count() == 1
}

fn people(what: &'static str, instrument: &'static str) -> Duty {
    Duty {
        key: "people",
        what,
        instrument,
        values: |particulars| texts(&particulars.people),
    }
}

fn address(what: &'static str, instrument: &'static str) -> Duty {
    Duty {
        key: "address",
        what,
        instrument,
        values: |particulars| particulars.address.as_deref().into_iter().collect(),
    }
}

fn country(what: &'static str, instrument: &'static str) -> Duty {
    Duty {
        key: "registered-in",
        what,
        instrument,
        values: |particulars| particulars.registered_in.as_deref().into_iter().collect(),
    }
}

fn number(what: &'static str, instrument: &'static str) -> Duty {
    Duty {
        key: "number",
        what,
        instrument,
        values: |particulars| {
            particulars
                .number
                .iter()
                .map(|number| number.as_str())
                .collect()
        },
    }
}

fn office(what: &'static str, instrument: &'static str) -> Duty {
    Duty {
        key: "registered-office",
        what,
        instrument,
        values: |particulars| {
            particulars
                .registered_office
                .as_deref()
                .into_iter()
                .collect()
        },
    }
}

fn charity(instrument: &'static str) -> Duty {
    Duty {
        key: "charity-number",
        what: "that it is a registered charity, and its number",
        instrument,
        values: |particulars| particulars.charity_number.as_deref().into_iter().collect(),
    }
}

fn report_missing(section: &Section<'_>, duty: &Duty) {
    let message = format!("`{}` is missing: the law wants {}", duty.key, duty.what);
    section.diagnostics().push(
        Diagnostic::error("missing-particular", message)
            .at(section.place(), "")
            .help(format!("{} ({})", duty.what, duty.instrument)),
    );
}

/// A footer that was written by hand must have what the law wants; spacing and dashes aside.
fn check_given(section: &Section<'_>, duty: &Duty, values: &[&str], given: &Located<String>) {
    let said = letters(given);
    if values.iter().all(|value| said.contains(&letters(value))) {
        return;
    }
    let message = format!("this footer does not say {}", duty.what);
    section.diagnostics().push(
        Diagnostic::warning("footer-lacks-particular", message)
            .at_maybe(given.place(), "")
            .help(format!(
                "add `{}`, as {} wants it",
                values.join("`, `"),
                duty.instrument
            )),
    );
}

fn letters(text: &str) -> String {
    let kept = text.chars().filter(|character| character.is_alphanumeric());
    kept.flat_map(char::to_lowercase).collect()
}

/// Numbers have eight characters: eight digits, or two letters and six digits.
fn check_number(section: &Section<'_>, particulars: &Particulars) {
    let Some(number) = particulars
        .number
        .as_ref()
        .filter(|_| particulars.form.is_registered())
    else {
        return;
    };
    if is_company_number(number) {
        return;
    }
    let digits = number.bytes().all(|octet| octet.is_ascii_digit());
    let help = match digits && (1..8).contains(&number.len()) {
        true => format!("write it with zeros in front: \"{:0>8}\"", number.as_str()),
        false => "eight digits, or two letters and six digits: 01234567, SC123456, OC123456".into(),
    };
    section.report(
        "bad-company-number",
        "this is not a registered number",
        number,
        help,
    );
}

fn is_company_number(number: &str) -> bool {
    let octets = number.as_bytes();
    let (prefix, digits) = octets.split_at(octets.len().min(2));
    let prefixed =
        prefix.iter().all(u8::is_ascii_uppercase) || prefix.iter().all(u8::is_ascii_digit);
    octets.len() == 8 && prefixed && digits.iter().all(u8::is_ascii_digit)
}

/// The letters of a number say which registrar gave it.
fn check_part(section: &Section<'_>, particulars: &Particulars) {
    let (Some(part), Some(number)) = (&particulars.registered_in, &particulars.number) else {
        return;
    };
    if !particulars.form.is_registered() || !is_company_number(number) {
        return;
    }
    if !PARTS.contains(&part.as_str()) {
        let message = format!("`{part}` is no part of the United Kingdom that has a register");
        let help = format!("one of: {}", PARTS.join(", "));
        section.report("bad-part", message, number, help);
        return;
    }
    let of_number = match &number[..2] {
        "SC" | "SO" | "SL" | "SF" => "Scotland",
        "NI" | "NC" | "NL" | "NF" | "R0" => "Northern Ireland",
        _ => "England and Wales",
    };
    let agrees = of_number == part.as_str() || of_number == "England and Wales" && part == "Wales";
    if !agrees {
        let message = format!("this number was given in {of_number}, not in {part}");
        section.diagnostics().push(
            Diagnostic::warning("number-of-another-register", message)
                .at_maybe(number.place(), "")
                .help("check both against the certificate of incorporation"),
        );
    }
}

/// A registered name ends in its form, unless it is exempt.
fn check_name(section: &Section<'_>, particulars: &Particulars) {
    let ends: &[&str] = match particulars.form {
        Form::Company => &["limited", "ltd", "cyfyngedig", "cyf"],
        Form::Plc => &["plc", "public limited company", "ccc"],
        Form::Llp => &["llp", "limited liability partnership", "pac"],
        Form::Cic => &["cic", "community interest company", "cbc"],
        _ => return,
    };
    let name = particulars.name.to_lowercase().replace('.', "");
    if ends.iter().any(|end| name.ends_with(end)) {
        return;
    }
    let message = format!(
        "the registered name of this form ends in `{}`",
        ends.join("` or `")
    );
    section.diagnostics().push(
        Diagnostic::warning("name-without-form", message)
            .at(section.place(), "")
            .help("write the name as on the certificate, or use `form = \"exempt-company\"`"),
    );
}

const BUSINESS_NAMES: &str = "Companies Act 2006 s.1201, s.1202";

/// Where companies are registered (Companies Act 2006 s.9).
const PARTS: [&str; 4] = ["England and Wales", "Wales", "Scotland", "Northern Ireland"];
