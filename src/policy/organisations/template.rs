//! Footers made of particulars (the models of `domain.md` §7.3).

use super::law;
use super::particulars::{Form, Particulars, State};

/// Returns the sentences that an entity must send, or `None` if the law wants nothing of it.
pub(super) fn sentences(particulars: &Particulars) -> Option<String> {
    let body = match particulars.form {
        Form::NhsBody => return None,
        Form::Company | Form::Plc => company(particulars),
        Form::ExemptCompany | Form::Cic => limited(particulars),
        Form::Llp => llp(particulars),
        Form::CharitableCompany => charitable_company(particulars),
        Form::Charity => charity(particulars),
        Form::SoleTrader | Form::Partnership if particulars.people.is_empty() => return None,
        // Under their own surnames they have nothing to disclose, and no business name to explain.
        Form::SoleTrader | Form::Partnership
            if particulars.trading_name.is_none() && law::uses_own_name(particulars) =>
        {
            return None;
        }
        Form::SoleTrader => sole_trader(particulars),
        Form::Partnership => partnership(particulars),
        Form::LargePartnership => large_partnership(particulars),
        Form::OverseasCompany => overseas(particulars),
    };
    Some(body)
}

fn company(particulars: &Particulars) -> String {
    let mut out = vec![sentence(&named(particulars))];
    out.extend(state_sentence(particulars));
    out.extend(
        particulars
            .registered_in
            .as_ref()
            .map(|part| format!("Registered in {part}.")),
    );
    out.extend(number(particulars).map(|number| format!("Company no. {number}.")));
    out.extend(office(particulars));
    out.join(" ")
}

fn limited(particulars: &Particulars) -> String {
    let mut out = vec![sentence(&format!(
        "{}, a limited company",
        named(particulars)
    ))];
    out.extend(state_sentence(particulars));
    out.push(registered_no(particulars));
    out.extend(office(particulars));
    out.join(" ")
}

fn llp(particulars: &Particulars) -> String {
    let registered = match (&particulars.registered_in, number(particulars)) {
        (Some(part), Some(number)) => format!(" registered in {part} ({number})"),
        _ => String::new(),
    };
    let first = format!(
        "{}, a limited liability partnership{registered}",
        named(particulars)
    );
    let mut out = vec![sentence(&first)];
    out.extend(state_sentence(particulars));
    out.extend(office(particulars));
    out.push("A list of members may be inspected at that office.".to_owned());
    out.join(" ")
}

fn charity(particulars: &Particulars) -> String {
    let part = part_phrase(particulars);
    let number = charity_number(particulars);
    sentence(&format!(
        "{} is a registered charity{part}{number}",
        named(particulars)
    ))
}

fn charitable_company(particulars: &Particulars) -> String {
    let part = part_phrase(particulars);
    let charity = charity_number(particulars);
    let company = number(particulars)
        .map(|number| format!(" (no. {number})"))
        .unwrap_or_default();
    let name = named(particulars);
    let first = format!(
        "{name} is a registered charity{part}{charity} and a company limited by guarantee registered{part}{company}"
    );
    let mut out = vec![sentence(&first)];
    out.extend(state_sentence(particulars));
    out.extend(office(particulars));
    out.join(" ")
}

fn sole_trader(particulars: &Particulars) -> String {
    of_people(particulars, "the business name")
}

fn partnership(particulars: &Particulars) -> String {
    of_people(particulars, "a partnership")
}

/// Whose it is, by their names.
fn of_people(particulars: &Particulars, what: &str) -> String {
    let people = list(&particulars.people);
    let first = sentence(&format!("{} is {what} of {people}", particulars.name));
    match service(particulars) {
        Some(service) => format!("{first} {service}"),
        None => first,
    }
}

fn large_partnership(particulars: &Particulars) -> String {
    let place = particulars.address.as_deref().unwrap_or_default();
    sentence(&format!(
        "{}: a list of the partners' names may be inspected at our principal place of business, {place}",
        particulars.name
    ))
}

fn overseas(particulars: &Particulars) -> String {
    let country = particulars.registered_in.as_deref().unwrap_or_default();
    let mut out = vec![sentence(&format!(
        "{}, incorporated in {country}",
        named(particulars)
    ))];
    out.extend(state_sentence(particulars));
    out.extend(number(particulars).map(|number| format!("Registered no. {number}.")));
    let office = particulars.registered_office.as_ref();
    out.extend(office.map(|office| sentence(&format!("Head office: {office}"))));
    out.join(" ")
}

/// The name, with what its state and a trading name add to it. Insolvency Act 1986 s.188 wants the
/// statement behind the name.
fn named(particulars: &Particulars) -> String {
    let name = match particulars.state {
        State::BeingWoundUp => format!("{} – being wound up", particulars.name),
        State::InAdministration => format!("{} (in administration)", particulars.name),
        State::Trading | State::ReceiverAppointed | State::InMoratorium => particulars.name.clone(),
    };
    match &particulars.trading_name {
        Some(trading) => format!("{trading} is a trading name of {name}"),
        None => name,
    }
}

fn state_sentence(particulars: &Particulars) -> Option<String> {
    match particulars.state {
        State::Trading | State::BeingWoundUp => None,
        State::ReceiverAppointed => Some("A receiver or manager has been appointed.".to_owned()),
        State::InMoratorium => {
            let who = list(&particulars.monitors);
            Some(format!("A moratorium is in force. Monitor: {who}."))
        }
        State::InAdministration => {
            let who = list(&particulars.administrators);
            let acts = match particulars.administrators.len() {
                1 => "acts as agent",
                _ => "act as agents",
            };
            Some(format!(
                "The affairs, business and property of the company are being managed by {who}, who {acts} without personal liability."
            ))
        }
    }
}

fn number(particulars: &Particulars) -> Option<&str> {
    particulars.number.as_ref().map(|number| number.as_str())
}

fn registered_no(particulars: &Particulars) -> String {
    let number = number(particulars)
        .map(|number| format!(" no. {number}"))
        .unwrap_or_default();
    format!("Registered{}{number}.", part_phrase(particulars))
}

fn part_phrase(particulars: &Particulars) -> String {
    let part = particulars.registered_in.as_ref();
    part.map(|part| format!(" in {part}")).unwrap_or_default()
}

fn charity_number(particulars: &Particulars) -> String {
    let number = particulars.charity_number.as_ref();
    number
        .map(|number| format!(" (no. {number})"))
        .unwrap_or_default()
}

fn office(particulars: &Particulars) -> Option<String> {
    let office = particulars.registered_office.as_ref();
    office.map(|office| sentence(&format!("Registered office: {office}")))
}

fn service(particulars: &Particulars) -> Option<String> {
    let address = particulars.address.as_ref();
    address.map(|address| sentence(&format!("Address for service: {address}")))
}

/// `A`, `A and B`, `A, B and C`.
fn list(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// Ends in one full stop.
fn sentence(text: &str) -> String {
    format!("{}.", text.trim_end_matches('.'))
}

/// HTML that says the same as a text: its empty lines part paragraphs.
pub(super) fn html_of(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    let paragraphs = text.trim_matches('\n').split("\n\n").map(|paragraph| {
        let lines: Vec<_> = paragraph.trim_matches('\n').lines().map(escaped).collect();
        format!("<p>{}</p>", lines.join("<br>\n"))
    });
    paragraphs.collect::<Vec<_>>().join("\n")
}

pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            character => out.push(character),
        }
    }
    out
}
