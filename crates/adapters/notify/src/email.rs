//! E-mails.

use std::time::Duration;

use lettre::message::Mailbox;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use muster_alerts::{ChannelKind, Delivery, NotSent, SmtpTls};
use muster_kernel::Secret;

use crate::reach::Reach;
use crate::{body, not_sent};

/// How long each step of the conversation may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Sends e-mails.
#[derive(Debug)]
pub(crate) struct Mailer {
    reach: Reach,
}

impl Mailer {
    pub(crate) const fn new(reach: Reach) -> Self {
        Self { reach }
    }

    pub(crate) async fn send(
        &self,
        kind: &ChannelKind,
        password: Option<&Secret>,
        delivery: &Delivery,
    ) -> Result<Option<u16>, NotSent> {
        let ChannelKind::Email { host, port, tls, username, from, to } = kind else {
            return Err(not_sent("the channel is none for e-mails"));
        };
        let message = message(from, to, delivery)?;
        if *tls == SmtpTls::None && !self.reach.allows_private() {
            return Err(not_sent("without TLS nothing is sent: see alerts_private_addresses"));
        }
        let found = self.reach.resolve(host, *port).await;
        let found = found.map_err(|error| not_sent(error.to_string()))?;
        let address = found.first().ok_or_else(|| not_sent("the mail server has no address"))?;
        let parameters = || {
            TlsParameters::new(host.clone())
                .map_err(|error| not_sent(format!("TLS can't be set up: {error}")))
        };
        let tls = match tls {
            SmtpTls::Implicit => Tls::Wrapper(parameters()?),
            SmtpTls::Starttls => Tls::Required(parameters()?),
            SmtpTls::None => Tls::None,
        };
        // The address that was looked at is the one that is connected to.
        let mut transport =
            AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(address.ip().to_string())
                .port(*port)
                .tls(tls)
                .hello_name(ClientId::Domain("muster".to_owned()))
                .timeout(Some(TIMEOUT));
        if let (Some(username), Some(password)) = (username, password) {
            let credentials = Credentials::new(username.clone(), password.expose().to_owned());
            transport = transport.credentials(credentials);
        }
        match transport.build().send(message).await {
            Ok(answer) => Ok(Some(answer.code().into())),
            Err(error) => {
                let status = error.status().map(u16::from);
                let reason = error.to_string().chars().take(300).collect();
                Err(NotSent { status, reason })
            }
        }
    }
}

fn message(from: &str, to: &[String], delivery: &Delivery) -> Result<Message, NotSent> {
    let mailbox = |text: &str| {
        text.parse::<Mailbox>().map_err(|_| not_sent(format!("{text} is no e-mail address")))
    };
    let mut message = Message::builder()
        .from(mailbox(from)?)
        .subject(body::subject(delivery))
        .message_id(Some(format!("<{}@muster>", delivery.id)))
        .header(ContentType::TEXT_PLAIN);
    for to in to {
        message = message.to(mailbox(to)?);
    }
    let name = HeaderName::new_from_ascii_str("Muster-Delivery");
    let mut message = message
        .body(body::text(delivery))
        .map_err(|error| not_sent(format!("the e-mail can't be written: {error}")))?;
    message.headers_mut().insert_raw(HeaderValue::new(name, delivery.id.to_string()));
    Ok(message)
}
