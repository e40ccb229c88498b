//! The words of a banner. Hosts in it are written so that nobody can click them.

use crate::policy::finding::{LinkFinding, LinkKind};

/// The banner in plain text, about these findings in the order of kinds and hosts: the same links give the same
/// banner.
pub fn banner_text(template: &str, findings: &[&LinkFinding]) -> String {
    let mut lines: Vec<String> = findings.iter().map(|finding| sentence(finding)).collect();
    lines.sort();
    lines.dedup();
    let more = lines.len().saturating_sub(LINES_MAX);
    lines.truncate(LINES_MAX);
    if more > 0 {
        lines.push(format!("- and {more} more"));
    }
    let mut text = template.replace("{links}", &lines.join("\n"));
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// The same in HTML.
pub fn banner_html(text: &str) -> String {
    let escaped = text
        .trim_end()
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    let lines: Vec<&str> = escaped.lines().collect();
    format!("<div style=\"{STYLE}\">{}</div>", lines.join("<br>\n"))
}

fn sentence(finding: &LinkFinding) -> String {
    let host = finding
        .host
        .as_deref()
        .map_or("a link".to_owned(), unclickable);
    let other = finding
        .instead_of
        .as_deref()
        .map(unclickable)
        .unwrap_or_default();
    let says = match finding.kind {
        LinkKind::Unapproved => "is not an approved site".to_owned(),
        LinkKind::Remote => "is not approved, and is loaded from".to_owned(),
        LinkKind::OtherHost => format!("is where a link goes that shows {other}"),
        LinkKind::UserInfo => "is hidden behind another name".to_owned(),
        LinkKind::LookAlike => format!("looks like {other} and is not"),
        LinkKind::MixedScript => "mixes letters that look alike".to_owned(),
        LinkKind::Shortener => "does not say where it leads".to_owned(),
        LinkKind::IpAddress => "is a bare number and no name".to_owned(),
        LinkKind::Script => "runs a script".to_owned(),
        LinkKind::Program => "starts a program".to_owned(),
        LinkKind::Form => "gets what you fill into a form here".to_owned(),
        LinkKind::Malformed => "is not written as an address should be".to_owned(),
        LinkKind::TooMany => "or more could not be looked at: there are too many".to_owned(),
    };
    format!("- {host} {says}")
}

/// `nhs-uk[.]net`.
fn unclickable(host: &str) -> String {
    host.replace('.', "[.]").replace(':', "[:]")
}

/// More are counted.
const LINES_MAX: usize = 5;

const STYLE: &str = "border:2px solid #b00000;padding:8px;margin:0 0 12px 0;background:#fff4d6;color:#000000;\
font-family:sans-serif;font-size:14px";
