use std::path::Path;

use resultity_core::clock::{ManualClock, Timestamp};
use rstest::rstest;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use super::*;

fn clock() -> Arc<dyn Clock> {
    Arc::new(ManualClock::new(Timestamp::from_millis(1_800_000_000_000)))
}

fn letter(to: &str) -> Letter {
    Letter {
        to: to.into(),
        subject: "Your code".into(),
        text: "The code is 12345678.\n".into(),
    }
}

fn files(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect()
}

#[tokio::test]
async fn what_is_posted_before_a_stop_is_in_the_directory_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = folder.path().join("outbox");
    let mail = Arc::new(Mail::new(MailOptions::Directory(outbox.clone()), clock()).unwrap());
    for number in 0..20 {
        mail.post(&letter(&format!("a{number}@example.org"))).unwrap();
    }
    let stop = CancellationToken::new();
    stop.cancel();
    Arc::clone(&mail).run(stop).await;
    let files = files(&outbox);
    assert_eq!(files.len(), 20);
    assert!(files.iter().all(|text| text.contains("The code is 12345678.")));
    assert!(files.iter().any(|text| text.contains("To: a7@example.org")));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let entry = std::fs::read_dir(&outbox).unwrap().next().unwrap().unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(mail.post(&letter("late@example.org")), Err(PostError::Full));
}

#[test]
fn without_mail_and_with_a_full_queue_it_says_so() {
    assert_eq!(Mail::none().post(&letter("a@example.org")), Err(PostError::NoMail));
    let mail = Mail::new(MailOptions::Directory("nowhere".into()), clock()).unwrap();
    for _ in 0..QUEUE {
        mail.post(&letter("a@example.org")).unwrap();
    }
    assert_eq!(mail.post(&letter("a@example.org")), Err(PostError::Full));
}

#[rstest]
#[case("a@example.org", true)]
#[case("a.b+c@sub.example.org", true)]
#[case("admin@localhost", true)]
#[case("", false)]
#[case("a", false)]
#[case("a@", false)]
#[case("a@b\r\nBcc: c@example.org", false)]
#[case("a@example.org, b@example.org", false)]
#[case("Name <a@example.org>", false)]
fn an_address_is_one_or_it_is_refused(#[case] text: &str, #[case] expected: bool) {
    assert_eq!(Mail::is_address(text), expected);
    assert!(!Mail::is_address(&format!("{}@example.org", "a".repeat(250))));
}

#[test]
fn a_subject_adds_no_header() {
    let mail = Mail::new(MailOptions::Directory("nowhere".into()), clock()).unwrap();
    let sneaky = Letter {
        subject: "Hello\r\nBcc: c@example.org".into(),
        ..letter("a@example.org")
    };
    let message = mail.open.unwrap().transport.message(&sneaky).unwrap();
    let text = String::from_utf8(message.formatted()).unwrap();
    assert!(!text.contains("\nBcc:"), "{text}");
}

fn options(url: &str, from: &str) -> MailOptions {
    MailOptions::Smtp(SmtpOptions {
        url: url.parse().unwrap(),
        from: from.into(),
        password: None,
    })
}

#[rstest]
#[case("smtps://user:secret@mail.example.org", "a@example.org", MailError::Password)]
#[case("http://mail.example.org", "a@example.org", MailError::Url)]
#[case("smtp://localhost/path", "a@example.org", MailError::Url)]
#[case("smtp://localhost", "nobody", MailError::From)]
fn options_that_cannot_be_are_refused(#[case] url: &str, #[case] from: &str, #[case] expected: MailError) {
    assert_eq!(Mail::new(options(url, from), clock()).unwrap_err(), expected);
}

/// A mail server that says this after each line, in order, and then takes everything; gives what was said to it.
async fn mail_server(listener: TcpListener, refuse_first: bool) -> Vec<String> {
    let mut said = Vec::new();
    let mut refuse = refuse_first;
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let (read, mut write) = socket.into_split();
        write.write_all(b"220 ready\r\n").await.unwrap();
        let mut lines = BufReader::new(read).lines();
        let mut in_data = false;
        while let Ok(Some(line)) = lines.next_line().await {
            let answer = match line.as_str() {
                "." => {
                    in_data = false;
                    "250 taken\r\n"
                }
                _ if in_data => "",
                "DATA" => {
                    in_data = true;
                    "354 go on\r\n"
                }
                line if line.starts_with("RCPT") && refuse => {
                    refuse = false;
                    "451 try later, b@example.org\r\n"
                }
                _ => "250 fine\r\n",
            };
            let is_end = line == ".";
            said.push(line);
            if write.write_all(answer.as_bytes()).await.is_err() {
                break;
            }
            if is_end {
                return said;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_mail_server_that_is_busy_is_asked_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    let mail = Arc::new(Mail::new(options(&url, "Resultity <no-reply@example.org>"), clock()).unwrap());
    mail.post(&letter("b@example.org")).unwrap();
    let stop = CancellationToken::new();
    let (said, ()) = tokio::join!(
        async {
            let said = mail_server(listener, true).await;
            stop.cancel();
            said
        },
        Arc::clone(&mail).run(stop.clone())
    );
    let count = |what: &str| said.iter().filter(|line| line.starts_with(what)).count();
    assert_eq!((count("RCPT TO:<b@example.org>"), count("DATA")), (2, 1), "{said:#?}");
    assert_eq!(count("EHLO example.org"), 2, "{said:#?}");
    assert!(said.iter().any(|line| line.contains("12345678")), "{said:#?}");
}
