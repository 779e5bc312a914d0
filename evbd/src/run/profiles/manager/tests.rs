//! A manager made by hand, on the loopback of the machine.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};

use super::*;

/// Serves one answer for each it is given, and tells what was asked.
struct Server {
    address: SocketAddr,
    answers: Sender<Vec<u8>>,
    questions: Receiver<String>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (answers, next) = channel::<Vec<u8>>();
        let (asked, questions) = channel();
        thread::spawn(move || {
            for answer in next {
                let (mut stream, _) = listener.accept().unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                let _ = asked.send(lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join("|"));
                // A client that has heard enough hangs up.
                let _ = stream.write_all(&answer);
            }
        });
        Self { address, answers, questions }
    }

    fn config(&self) -> ManagerConfig {
        ManagerConfig {
            id: "labmgr".parse().unwrap(),
            url: format!("http://{}/types", self.address),
            poll: Duration::from_secs(3600),
            timeout: Duration::from_secs(2),
            ca: None,
        }
    }

    fn answer(&self, status: &str, headers: &str, body: &str) {
        let length = body.len();
        let text = format!(
            "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        self.answers.send(text.into_bytes()).unwrap();
    }
}

const WEB: &str = r#"{"profiles":[{"name":"web","type":1,"version":1,"vlans":[100]}]}"#;

#[test]
fn every_kind_of_answer() {
    let server = Server::start();
    let config = server.config();
    let ask = |etag| fetch(&config, etag).map(|answer| answer.map(|(a, tag)| (a.profiles.len(), tag)));
    server.answer("200 OK", "ETag: \"7\"\r\n", WEB);
    assert_eq!(ask(None), Ok(Some((1, Some("\"7\"".into())))));
    assert!(!server.questions.recv().unwrap().to_lowercase().contains("if-none-match"));
    server.answer("304 Not Modified", "", "");
    assert_eq!(ask(Some("\"7\"")), Ok(None));
    assert!(server.questions.recv().unwrap().to_lowercase().contains("if-none-match: \"7\""));
    for (status, body, why) in [
        ("304 Not Modified", "", "status 304"),
        ("500 Oops", WEB, "status 500"),
        ("404 Not Found", "", "status 404"),
        ("200 OK", "<html>", "expected value"),
        ("200 OK", r#"{"profiles":[{}]}"#, "missing field"),
    ] {
        server.answer(status, "", body);
        let error = ask(None).unwrap_err();
        assert!(error.contains(why) && error.contains("/types"), "{error}");
    }
    let long = usize::try_from(LONGEST).unwrap() + 1;
    server.answer("200 OK", "", &" ".repeat(long));
    assert!(ask(None).unwrap_err().contains("16 MiB"));
    let _ = server.answers.send(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{".to_vec());
    assert!(ask(None).is_err());
    let gone = ManagerConfig { url: "http://127.0.0.1:1/".into(), ..config.clone() };
    assert!(fetch(&gone, None).is_err());
    let no_ca = ManagerConfig { ca: Some("/nowhere".into()), ..config.clone() };
    assert!(fetch(&no_ca, None).unwrap_err().starts_with("/nowhere"));
}

#[tokio::test]
async fn a_copy_outlives_the_manager() {
    let server = Server::start();
    let directory = tempfile::tempdir().unwrap();
    let (news, mut heard) = mpsc::channel(4);
    server.answer("200 OK", "ETag: \"1\"\r\n", WEB);
    let (asked, copy) = Asked::start(server.config(), Some(directory.path()), news.clone());
    assert!(copy.is_none());
    let Some(News::Input(Input::Manager { heard: Ok(Some(profiles)), .. })) = heard.recv().await else {
        panic!()
    };
    assert_eq!(profiles[0].name, "web");
    // Asked before its time, it names what it has.
    server.answer("304 Not Modified", "", "");
    asked.hurry();
    let Some(News::Input(Input::Manager { heard: Ok(None), .. })) = heard.recv().await else { panic!() };
    drop(asked);
    let (_, copy) = Asked::start(server.config(), Some(directory.path()), news.clone());
    assert_eq!(copy.unwrap(), profiles);
    // Of another address, and damaged, it is nothing.
    let elsewhere = ManagerConfig { url: "http://127.0.0.1:1/".into(), ..server.config() };
    assert!(Asked::start(elsewhere, Some(directory.path()), news.clone()).1.is_none());
    let file = std::fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap().path();
    std::fs::write(&file, "{").unwrap();
    assert!(Asked::start(server.config(), Some(directory.path()), news).1.is_none());
}
