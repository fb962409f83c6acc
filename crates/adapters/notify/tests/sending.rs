//! Messages go to real receivers on this machine: an HTTP server and a mail server of a few lines.
#![expect(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::sync::Arc;

use muster_alerts::testing::{channel, delivery, noon};
use muster_alerts::{Channel, ChannelKind, ChatFlavour, Messenger, NotSent, SmtpTls};
use muster_kernel::Secret;
use muster_notify::{Notifier, sign};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Answers one request with `answer`; yields the head and the body of the request.
async fn receiver(answer: &'static str) -> (String, JoinHandle<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let heard = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.unwrap();
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
            head.push_str(&line);
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        stream.write_all(answer.as_bytes()).await.unwrap();
        (head, String::from_utf8(body).unwrap())
    });
    (address, heard)
}

fn notifier(allow_private: bool) -> Notifier {
    Notifier::new(Arc::new(move || allow_private)).unwrap()
}

fn webhook(url: String) -> Channel {
    Channel { kind: ChannelKind::Webhook { url }, ..channel(1) }
}

async fn post(notifier: &Notifier, url: String) -> Result<Option<u16>, NotSent> {
    let secret = Secret::from_text("whsec_test");
    notifier.send(&webhook(url), Some(&secret), &delivery(1), noon()).await
}

fn header(head: &str, name: &str) -> String {
    let value = head.lines().find_map(|line| {
        let (key, value) = line.split_once(": ")?;
        key.eq_ignore_ascii_case(name).then(|| value.to_owned())
    });
    value.unwrap()
}

#[tokio::test]
async fn a_webhook_is_signed_and_names_its_delivery() {
    let (address, heard) = receiver("HTTP/1.1 204 No Content\r\n\r\n").await;
    let sent = post(&notifier(true), format!("http://{address}/hook?x=1")).await;
    assert_eq!(sent, Ok(Some(204)));
    let (start, body) = heard.await.unwrap();
    assert!(start.starts_with("POST /hook?x=1 HTTP/1.1"), "{start}");
    let expected = sign(&Secret::from_text("whsec_test"), noon(), &body);
    assert_eq!(header(&start, "Muster-Signature"), expected);
    assert_eq!(header(&start, "Muster-Delivery"), delivery(1).id.to_string());
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&body["event"], &body["title"]), (&"test".into(), &"A test".into()));
}

#[tokio::test]
async fn what_is_no_success_is_told_with_its_status_and_a_word_of_the_answer() {
    let answer = "HTTP/1.1 500 Oh\r\nContent-Length: 9\r\n\r\nit broke!";
    let (address, _heard) = receiver(answer).await;
    let error = post(&notifier(true), format!("http://{address}/")).await.unwrap_err();
    assert_eq!(error.status, Some(500));
    assert!(error.reason.contains("it broke!"), "{error}");
}

#[tokio::test]
async fn no_redirect_is_followed() {
    let answer =
        "HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n";
    let (address, _heard) = receiver(answer).await;
    let error = post(&notifier(true), format!("http://{address}/")).await.unwrap_err();
    assert_eq!(error.status, Some(302));
}

#[tokio::test]
async fn what_is_inside_is_reached_only_where_an_admin_allows_it_and_a_clouds_services_never() {
    let (address, heard) = receiver("HTTP/1.1 204 No Content\r\n\r\n").await;
    let port = address.rsplit(':').next().unwrap();
    for host in ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "[::ffff:127.0.0.1]"] {
        for scheme in ["http", "https"] {
            let error = post(&notifier(false), format!("{scheme}://{host}:{port}/")).await;
            assert_eq!(error.unwrap_err().status, None, "{host}");
        }
    }
    for host in ["169.254.169.254", "[::ffff:a9fe:a9fe]", "0.0.0.0"] {
        let error = post(&notifier(true), format!("http://{host}:{port}/")).await.unwrap_err();
        assert!(error.reason.contains("alerts_private_addresses"), "{host}: {error}");
    }
    assert!(!heard.is_finished(), "nobody came until now");
    assert!(post(&notifier(true), format!("http://localhost:{port}/")).await.is_ok());
}

#[tokio::test]
async fn a_chat_gets_its_own_words_and_errors_keep_its_address_secret() {
    for (flavour, field) in [
        (ChatFlavour::Slack, "text"),
        (ChatFlavour::Mattermost, "text"),
        (ChatFlavour::Discord, "content"),
        (ChatFlavour::Teams, "attachments"),
    ] {
        let (address, heard) = receiver("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        let chat =
            Channel { kind: ChannelKind::Chat { flavour, host: address.clone() }, ..channel(1) };
        let url = Secret::from_text(format!("http://{address}/T0/very-secret"));
        let sent = notifier(true).send(&chat, Some(&url), &delivery(1), noon()).await;
        assert_eq!(sent, Ok(Some(200)));
        let body: serde_json::Value = serde_json::from_str(&heard.await.unwrap().1).unwrap();
        assert!(body[field].to_string().contains("A test"), "{body}");
        let gone = notifier(true).send(&chat, Some(&url), &delivery(1), noon()).await;
        let reason = gone.unwrap_err().reason;
        assert!(!reason.contains("very-secret"), "{reason}");
    }
}

/// A mail server that takes one message, and refuses the recipient where it is told to.
async fn mail_server(refuse: bool) -> (u16, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        stream.write_all(b"220 here\r\n").await.unwrap();
        let (mut said, mut in_data) = (String::new(), false);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return said;
            }
            said.push_str(&line);
            let word = line.split([' ', '\r', ':']).next().unwrap_or_default().to_owned();
            let answer = match (in_data, word.as_str()) {
                (true, ".") => {
                    in_data = false;
                    "250 taken\r\n"
                }
                (true, _) => continue,
                (_, "EHLO") => "250-here\r\n250 AUTH PLAIN\r\n",
                (_, "AUTH") => "235 welcome\r\n",
                (_, "RCPT") if refuse => "550 no such user\r\n",
                (_, "DATA") => {
                    in_data = true;
                    "354 go on\r\n"
                }
                (_, "QUIT") => {
                    let _ = stream.write_all(b"221 bye\r\n").await;
                    return said;
                }
                _ => "250 fine\r\n",
            };
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (port, heard)
}

fn mail(port: u16) -> Channel {
    let kind = ChannelKind::Email {
        host: "localhost".into(),
        port,
        tls: SmtpTls::None,
        username: Some("muster".into()),
        from: "muster@example.org".into(),
        to: vec!["ann@example.org".into(), "bob@example.org".into()],
    };
    Channel { kind, ..channel(1) }
}

#[tokio::test]
async fn an_e_mail_arrives_at_everybody_with_its_delivery_in_the_head() {
    let (port, heard) = mail_server(false).await;
    let password = Secret::from_text("secret");
    let sent = notifier(true).send(&mail(port), Some(&password), &delivery(1), noon()).await;
    assert_eq!(sent, Ok(Some(250)));
    let said = heard.await.unwrap();
    for expected in [
        "RCPT TO:<ann@example.org>",
        "RCPT TO:<bob@example.org>",
        "Subject: [test] A test",
        &format!("Muster-Delivery: {}", delivery(1).id),
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
}

#[tokio::test]
async fn a_mail_server_that_refuses_is_told_with_its_code_and_none_is_reached_unprotected() {
    let (port, _heard) = mail_server(true).await;
    let error = notifier(true).send(&mail(port), None, &delivery(1), noon()).await.unwrap_err();
    assert_eq!(error.status, Some(550), "{error}");
    let error = notifier(false).send(&mail(port), None, &delivery(1), noon()).await.unwrap_err();
    assert_eq!(error.status, None);
    let starttls = match mail(port).kind {
        ChannelKind::Email { host, port, username, from, to, .. } => {
            ChannelKind::Email { host, port, tls: SmtpTls::Starttls, username, from, to }
        }
        other => other,
    };
    let (_, refused) = mail_server(false).await;
    let wish = Channel { kind: starttls, ..channel(1) };
    let error = notifier(true).send(&wish, None, &delivery(1), noon()).await.unwrap_err();
    assert!(error.status.is_none(), "without STARTTLS nothing is sent: {error}");
    refused.abort();
}
