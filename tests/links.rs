//! Links through a running gateway: taken out or warned of, with everything else as it came.

mod support;

use std::fs;

use support::Gateway;

const MESSAGE: &str = "From: helpdesk@elsewhere.example\r\nSubject: Your mailbox\r\nMIME-Version: 1.0\r\n\
Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\
Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
<html><body><p>Your mailbox is full: <a href=3D\"https://login.nhs-uk.net/x?id=\r\n=3Dsecret-path\">www.nhs.uk</a>, \
and <a href=3D\"https://www.nhs.uk/\">caf=C3=A9</a></p></body></html>\r\n--b\r\n\
Content-Type: application/octet-stream\r\n\r\nhttps://login.nhs-uk.net in a file\r\n--b--\r\n";

fn gateway(outbound: &str) -> Gateway {
    Gateway::start_with(|policies| {
        let path = policies.join("links.toml");
        let text = fs::read_to_string(&path).expect("links.toml");
        let text = text.replace(
            "[links.outbound]\n",
            &format!("[links.outbound]\n{outbound}\n"),
        );
        fs::write(path, text).expect("a copy of links.toml");
    })
}

fn arrived(outbound: &str) -> (String, Gateway) {
    let gateway = gateway(outbound);
    let mut client = gateway.connect();
    assert!(
        client
            .command("EHLO client.elsewhere.example")
            .starts_with("250")
    );
    let message = MESSAGE.replace("id=\r\n=3D", "id=3D");
    let reply = client.submit("x@elsewhere.example", &["gp@nhs.net"], message.as_bytes());
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
    let mail = gateway.wait_for_mail("gp@nhs.net", 1).remove(0);
    // Long lines are broken anew where words were put in.
    let mail = String::from_utf8(mail).expect("text").replace("=\r\n", "");
    (mail, gateway)
}

#[test]
fn a_link_is_taken_out_its_text_kept_and_the_audit_trail_names_its_host_alone() {
    // The attached file names the host as well, in octets that are no text of the message.
    let (mail, gateway) = arrived("look-alike = \"strip\"\nother-host = \"annotate\"");
    assert!(!mail.contains("secret-path"), "{mail}");
    assert!(
        mail.contains("www.nhs.uk</a>, and <a href=3D\"https://www.nhs.uk/\">caf=C3=A9</a>"),
        "{mail}"
    );
    assert!(
        mail.contains("login[.]nhs-uk[.]net is where a link goes that shows www"),
        "{mail}"
    );
    assert!(
        mail.ends_with("\r\n\r\nhttps://login.nhs-uk.net in a file\r\n--b--\r\n"),
        "{mail}"
    );
    let trail = gateway.postern(&["audit", "export"]);
    let trail = String::from_utf8_lossy(&trail.stdout).into_owned();
    assert!(
        trail.contains("look-alike login.nhs-uk.net: strip"),
        "{trail}"
    );
    assert!(!trail.contains("secret-path"), "{trail}");
}

#[test]
fn mail_of_our_own_leaves_byte_for_byte_as_shipped() {
    let (mail, _gateway) = arrived("");
    assert!(
        mail.ends_with(&MESSAGE.replace("id=\r\n=3D", "id=3D")),
        "{mail}"
    );
}
