//! Postfix with certificates that are right and wrong, with old TLS and with none: what is bound to verified TLS goes
//! to the right one alone, what is bound to nothing goes to all, and the trail says under what.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::authority::{Authority, Wrong};
use super::exchange::{
    HOURS, PATIENT, all_come_to, attempts_come_to, bound, by_mx, send_each, trail,
};
use super::name_server::{NameServer, mx};
use super::postfix::{Postfix, Service};
use super::support::{Gateway, wait_for};

/// One exchanger: what it does, what comes of patient data for it, and of what may go to anybody.
struct Case {
    /// The first label of its domain.
    name: &'static str,
    certificate: Wrong,
    options: &'static [&'static str],
    bound: &'static [&'static str],
    free: &'static [&'static str],
}

const MAY: &[&str] = &["smtpd_tls_security_level=may"];

const CASES: &[Case] = &[
    Case {
        name: "right",
        certificate: Wrong::Nothing,
        options: MAY,
        bound: &[
            "delivered; status: 2.0.0",
            "TLSv1.3 TLS13_",
            " verified for mx.right.example sha256:",
            "authenticated: web-pki",
        ],
        free: &[
            "delivered",
            "TLSv1.3 TLS13_",
            " verified for mx.right.example",
        ],
    },
    Case {
        name: "twelve",
        certificate: Wrong::Nothing,
        options: &["smtpd_tls_protocols=TLSv1.2"],
        bound: &[
            "delivered",
            "TLSv1.2 TLS_ECDHE_ECDSA_WITH_AES_",
            " verified for mx.twelve.example",
        ],
        free: &["delivered", "TLSv1.2"],
    },
    Case {
        name: "name",
        certificate: Wrong::Name,
        options: MAY,
        bound: &[
            "deferred; status: 4.7.5",
            "the certificate of the next hop is for another name",
        ],
        free: &[
            "delivered",
            "TLSv1.3",
            " unverified for mx.name.example",
            "authenticated: none",
        ],
    },
    Case {
        name: "expired",
        certificate: Wrong::Expired,
        options: MAY,
        bound: &["deferred; status: 4.7.5", "has expired"],
        free: &["delivered", "TLSv1.3", " unverified "],
    },
    Case {
        name: "self",
        certificate: Wrong::SelfSigned,
        options: MAY,
        bound: &[
            "deferred; status: 4.7.5",
            "is from an authority that is not trusted",
        ],
        free: &["delivered", "TLSv1.3", " unverified "],
    },
    Case {
        name: "issuer",
        certificate: Wrong::Issuer,
        options: MAY,
        bound: &[
            "deferred; status: 4.7.5",
            "is from an authority that is not trusted",
        ],
        free: &["delivered", "TLSv1.3", " unverified "],
    },
    Case {
        name: "old",
        certificate: Wrong::Nothing,
        options: &[
            "smtpd_tls_protocols=TLSv1.1",
            "tls_medium_cipherlist=ALL:@SECLEVEL=0",
        ],
        bound: &["deferred; status: 4.7.5", "the TLS handshake failed"],
        free: &["delivered", "downgrade: in clear: the TLS handshake failed"],
    },
    Case {
        name: "clear",
        certificate: Wrong::Nothing,
        options: &["smtpd_tls_security_level=none"],
        bound: &["deferred; status: 4.7.10", "TLS is needed and not offered"],
        free: &[
            "delivered",
            "downgrade: in clear: the next hop offers no TLS",
        ],
    },
];

#[test]
fn postfix_gets_patient_data_under_its_own_name_alone_and_the_rest_as_well_as_it_can() {
    let authority = Authority::new();
    let (mut services, mut files): (Vec<Service>, Vec<_>) = (Vec::new(), Vec::new());
    let mut names = NameServer::start();
    for (case, last) in CASES.iter().zip(1..) {
        let (domain, address) = (format!("{}.example", case.name), format!("127.26.0.{last}"));
        let host = format!("mx.{domain}");
        let pem = authority.pem_for(&[&host], case.certificate);
        files.push((case.name, pem));
        let mut options = vec![format!("smtpd_tls_chain_files=FOLDER/{}", case.name)];
        options.extend(case.options.iter().map(|option| (*option).to_owned()));
        services.push((format!("{address}:25"), options));
        names = names
            .with(&domain, mx(10, &host))
            .with_address(&host, &address);
    }
    let Some(postfix) = Postfix::start(&services, "", "", &files) else {
        return;
    };
    let gateway = Gateway::start_with(|policies| {
        by_mx(policies, names.address, false, &authority);
        for case in CASES {
            bound(policies, &format!("{}.example", case.name));
        }
    });
    let to = |local: &str| -> Vec<String> {
        CASES
            .iter()
            .map(|case| format!("{local}@{}.example", case.name))
            .collect()
    };
    send_each(&gateway, &to("gp"), PATIENT);
    send_each(&gateway, &to("desk"), HOURS);

    let both = CASES.iter().flat_map(|case| {
        let to = |local| format!("{local}@{}.example", case.name);
        [
            (to("gp"), case.bound.to_vec()),
            (to("desk"), case.free.to_vec()),
        ]
    });
    all_come_to(&gateway, &both.collect::<Vec<_>>());
    // Postfix says the same: what it took, and under what.
    for case in CASES {
        let to = |local| format!("{local}@{}.example", case.name);
        let taken = wait_for(case.name, || postfix.mail_for(&to("desk")).pop());
        let in_clear = case.free.iter().any(|part| part.contains("in clear"));
        let with = if in_clear {
            "with ESMTP id"
        } else {
            "with ESMTPS id"
        };
        let taken = String::from_utf8_lossy(&taken);
        assert!(taken.contains(with), "{}: {taken}", case.name);
        if case.bound[0].starts_with("delivered") {
            wait_for(case.name, || postfix.mail_for(&to("gp")).pop());
            continue;
        }
        // And no later attempt sends it either.
        attempts_come_to(&gateway, &to("gp"), "deferred", 2);
        assert!(postfix.mail_for(&to("gp")).is_empty(), "{}", case.name);
    }
    // The document about a message names the certificate that Postfix was given, and how it was protected.
    let shown = CertificateDer::from_pem_slice(files[0].1.as_bytes()).unwrap();
    let digest = Sha256::digest(&shown);
    let digest: String = digest.iter().map(|octet| format!("{octet:02x}")).collect();
    let trail = trail(&gateway);
    let about = trail
        .iter()
        .find(|event| event["recipient"] == "gp@right.example");
    let reference = about.unwrap()["reference"].as_str().unwrap();
    let document = gateway.postern(&["evidence", reference]);
    let document: Value = serde_json::from_slice(&document.stdout).unwrap();
    let steps = document["statement"]["recipients"][0]["steps"]
        .as_array()
        .unwrap();
    let last = steps.last().unwrap();
    assert_eq!(
        (&last["kind"], &last["authenticated"]),
        (&"delivered".into(), &"web-pki".into())
    );
    let tls = last["tls"].as_str().unwrap();
    assert!(tls.starts_with("TLSv1.3 TLS13_"), "{tls}");
    assert!(
        tls.contains(&format!("verified for mx.right.example sha256:{digest} ")),
        "{tls}"
    );

    for case in CASES {
        let desk = format!("desk@{}.example", case.name);
        assert_eq!(postfix.mail_for(&desk).len(), 1, "{desk}");
    }
}
