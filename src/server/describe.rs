//! What is shown of a gateway that has started.

use std::net::SocketAddr;
use std::path::Path;

use crate::admin::banner::{self, Started};
use crate::delivery::{Router, Transport};
use crate::ingress;
use crate::ingress::settings::{ListenerSettings, ListenerTls};
use crate::mail::{ForwardPath, Mailbox, Service};
use crate::settings::Settings;

/// What is shown of a gateway that has started, with every path in full.
pub(super) fn describe(
    config: &Path,
    settings: &Settings,
    listening: &[ingress::Listening],
    metrics: Option<SocketAddr>,
) -> Started {
    let listeners = listening.iter().map(|one| banner::Listener {
        name: one.name.clone(),
        address: one.address,
        description: one.description.clone(),
    });
    let routes = settings.delivery.routes.iter().map(|route| banner::Route {
        name: route.name.clone(),
        transport: match &route.transport {
            Transport::Maildir { folder } => format!("Maildir {}", in_full(folder)),
            other => other.to_string(),
        },
    });
    let certificates = settings.ingress.certificates.iter();
    Started {
        hostname: settings.hostname.to_string(),
        listeners: listeners.collect(),
        metrics,
        policy: in_full(config),
        warnings: 0,
        data: in_full(&settings.data),
        certificates: certificates
            .map(|pair| in_full(&pair.certificate))
            .collect(),
        routes: routes.collect(),
        first_message: first_message(settings, listening),
    }
}

/// A message to try things out, if it stays on this machine.
fn first_message(
    settings: &Settings,
    listening: &[ingress::Listening],
) -> Option<banner::FirstMessage> {
    let plain = |of: &ListenerSettings| {
        of.service == Service::Relay && of.tls != ListenerTls::Implicit && !of.proxy_protocol
    };
    let listeners = settings.ingress.listeners.iter().zip(listening);
    let (_, listener) = listeners.into_iter().find(|(of, _)| plain(of))?;
    let recipient = Mailbox::parse(banner::FIRST_RECIPIENT).ok()?;
    let router = Router::new(settings.delivery.routes.clone());
    let route = router.route(&ForwardPath::Mailbox(recipient.clone()), false)?;
    let Transport::Maildir { folder } = &route.transport else {
        return None;
    };
    let mut to = listener.address;
    if to.ip().is_unspecified() {
        to.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    let place = format!("{}/{}/new", recipient.host(), recipient.local_part());
    Some(banner::FirstMessage {
        to,
        arrives_in: format!("{}/{place}", in_full(folder)),
    })
}

/// A path that means the same wherever it is read: without `..`, where that much of it exists.
fn in_full(path: &Path) -> String {
    let found = path.ancestors().find_map(|folder| {
        let rest = path.strip_prefix(folder).ok()?;
        Some(folder.canonicalize().ok()?.join(rest))
    });
    let whole = found.unwrap_or_else(|| path.to_owned());
    whole.display().to_string().trim_end_matches('/').to_owned()
}
